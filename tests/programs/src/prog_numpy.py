"""numpy with BLAS threads: an orthogonal iteration whose invariants are checked at every step."""
import os, sys
os.environ.setdefault("OPENBLAS_NUM_THREADS", "4")
import numpy as np

size = 300
rng = np.random.default_rng(1)
q, _ = np.linalg.qr(rng.standard_normal((size, size)))
x = rng.standard_normal((size, size))
norm, n, image = np.linalg.norm(x), 0, np.array(x)
print("ready", flush=True)
while not os.path.exists(sys.argv[1]):
    n += 1
    print("step", n, flush=True)
    x = q @ x
    assert abs(np.linalg.norm(x) - norm) < 1e-6 * norm, "FAIL norm"
    back = np.linalg.solve(q, x)
    assert np.allclose(back, image, atol=1e-8), "FAIL solve"
    image = np.array(x)
print("PASS", flush=True)
