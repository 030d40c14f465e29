# Ruby: fibers, threads, a queue and a hash, checked at every step.
$stdout.sync = true
squares = Fiber.new { n = 0; loop { n += 1; Fiber.yield n * n } }
todo, done, sum, h = Queue.new, Queue.new, 0, {}
3.times { Thread.new { loop { v = todo.pop; done << v * 2 } } }
puts "ready"
n = 0
until File.exist?(ARGV[0])
  n += 1
  puts "step #{n}"
  abort "FAIL fiber" unless squares.resume == n * n
  h["k#{n}"] = n
  sum += n
  abort "FAIL hash" unless h.values.sum == sum
  6.times { |i| todo << n + i }
  abort "FAIL threads" unless 6.times.map { done.pop }.sort == (0..5).map { |i| 2 * (n + i) }
  sleep 0.01
end
puts "PASS"
exit! 0
