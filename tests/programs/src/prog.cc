// C++: threads, futures, condition variables and exceptions, checked at every step.
#include <condition_variable>
#include <filesystem>
#include <future>
#include <iostream>
#include <map>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

static std::mutex m;
static std::condition_variable changed;
static long turn;

int main(int, char **argv)
{
	std::map<long, std::vector<long>> kept;
	std::thread ping([] {
		std::unique_lock lock(m);
		for (;;) {
			changed.wait(lock, [] { return turn % 2 == 1; });
			turn++;
			changed.notify_all();
		}
	});
	ping.detach();
	std::cout << "ready" << std::endl;
	for (long n = 1; !std::filesystem::exists(argv[1]); n++) {
		std::cout << "step " << n << std::endl;
		kept[n].assign(1000, n);
		kept.erase(n - 40);
		std::vector<std::future<long>> parts;
		for (auto &[k, v] : kept)
			parts.push_back(std::async(std::launch::async, [&v] { return std::accumulate(v.begin(), v.end(), 0L); }));
		long sum = 0, want = 0;
		for (auto &p : parts)
			sum += p.get();
		for (auto &[k, v] : kept)
			want += 1000 * k;
		try {
			if (n % 2)
				throw std::runtime_error("odd");
		} catch (const std::exception &) {
			want -= n, sum -= n;
		}
		std::unique_lock lock(m);
		turn++;
		changed.notify_all();
		changed.wait(lock, [] { return turn % 2 == 0; });
		if (sum != want || turn != 2 * n) {
			std::cout << "FAIL " << sum << std::endl;
			return 1;
		}
		lock.unlock();
		std::this_thread::sleep_for(std::chrono::milliseconds(5));
	}
	std::cout << "PASS" << std::endl;
	_Exit(0);
}
