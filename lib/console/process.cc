#include "console/process.h"

#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>

#include "console/exit_code.h"

namespace ferry {
namespace {

constexpr std::initializer_list<int> k_stop_signals = {SIGINT, SIGTERM, SIGHUP};

Task<> watch_signals(EventLoop& loop, std::stop_source stop) {
  co_await loop.signal(k_stop_signals);
  stop.request_stop();
  co_await loop.signal(k_stop_signals);
  // Nothing else is cleaned up, and nothing else needs to be: outputs have no name yet.
  kill_commands();
  ::_exit(static_cast<int>(ExitCode::cancelled));
}

/// Is it a child of ours, with a process group of its own?
bool leads_a_group_of_ours(const std::filesystem::path& process) {
  std::ifstream file(process / "stat");
  std::string line;
  std::getline(file, line);
  // "PID (NAME) STATE PARENT GROUP ...", where the name may have anything in it.
  const std::size_t name_end = line.rfind(')');
  if (name_end == line.npos) return false;
  std::istringstream rest(line.substr(name_end + 1));
  std::string state;
  ::pid_t parent = 0;
  ::pid_t group = 0;
  return rest >> state >> parent >> group && parent == ::getpid() &&
         process.filename() == std::to_string(group);
}

double in_seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

std::uint64_t peak_memory_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::uint64_t kib = 0;
    if (word == "VmHWM:" && status >> kib) return kib * 1024;
  }
  return 0;
}

}  // namespace

void prepare_process() noexcept {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : k_stop_signals) {
    // What was ignored from the start stays ignored: that is what nohup asks for. A blocked signal
    // would not be.
    struct sigaction inherited {};
    ::sigaction(number, nullptr, &inherited);
    if (inherited.sa_handler != SIG_IGN) sigaddset(&signals, number);
  }
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGCHLD, SIG_DFL);  // ignored, it would lose how a command ended

  rlimit descriptors{};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
    descriptors.rlim_cur = descriptors.rlim_max;
    // Without it the usual number of channels and images still fits.
    ::setrlimit(RLIMIT_NOFILE, &descriptors);
  }
}

void stop_on_signal(EventLoop& loop, std::stop_source stop) {
  loop.post([&loop, stop = std::move(stop)] { loop.spawn(watch_signals(loop, stop)); });
}

void kill_commands() {
  std::error_code error;
  for (std::filesystem::directory_iterator at("/proc", error), end; !error && at != end;
       at.increment(error)) {
    ::pid_t pid = 0;
    const std::string name = at->path().filename();
    const auto [rest, wrong] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (wrong != std::errc() || *rest != '\0' || pid <= 1) continue;
    if (leads_a_group_of_ours(at->path())) ::kill(-pid, SIGKILL);
  }
}

Usage usage_so_far() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  return {.cpu_seconds = in_seconds(used.ru_utime) + in_seconds(used.ru_stime),
          .peak_memory_bytes = peak_memory_bytes()};
}

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  return name.data();
}

}  // namespace ferry
