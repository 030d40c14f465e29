% GNU Octave: an orthogonal iteration and a cell array, checked at every step.
args = argv(); stopfile = args{end};
[q, r] = qr(reshape(sin(1:40000), 200, 200)); x = ones(200, 1); words = {}; n = 0;
printf("ready\n"); fflush(stdout);
while !exist(stopfile, "file")
  n++; printf("step %d\n", n); fflush(stdout);
  x = q * x; words{end + 1} = sprintf("%d", n);
  assert(abs(norm(x) - sqrt(200)) < 1e-6, "FAIL norm");
  assert(sum(cellfun(@str2double, words)) == n * (n + 1) / 2, "FAIL cells");
  pause(0.01);
end
printf("PASS\n");
