// Java: a thread pool, garbage and a hash map, checked at every step.
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;

class Prog {
	public static void main(String[] args) throws Exception {
		Path stop = Path.of(args[0]);
		ExecutorService pool = Executors.newFixedThreadPool(4);
		Map<Long, long[]> map = new HashMap<>();
		System.out.println("ready");
		for (long n = 1; !Files.exists(stop); n++) {
			System.out.println("step " + n);
			long[] block = new long[10000];
			Arrays.fill(block, n);
			map.put(n, block);
			map.remove(n - 50);
			List<Future<Long>> parts = new ArrayList<>();
			for (long[] b : map.values())
				parts.add(pool.submit(() -> Arrays.stream(b).sum()));
			long sum = 0, want = 0;
			for (Future<Long> f : parts)
				sum += f.get();
			for (long k = Math.max(1, n - 49); k <= n; k++)
				want += k * 10000;
			if (sum != want) {
				System.out.println("FAIL " + sum + ", want " + want);
				System.exit(1);
			}
			Thread.sleep(10);
		}
		System.out.println("PASS");
		System.exit(0);
	}
}
