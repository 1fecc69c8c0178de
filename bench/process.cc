#include "bench/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <utility>

namespace ferry::bench {
namespace {

constexpr const char* k_no_cipher = "-";  // of a report's line: a word must stand there

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_sys(Errc::system, errno, "make a pipe");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status)) return fmt::format("killed by signal {}", WTERMSIG(status));
  return fmt::format("exit code {}", WEXITSTATUS(status));
}

}  // namespace

Result<Process> Process::start(const std::vector<std::string>& argv) {
  Process process = FERRY_TRY(fork([&argv](int out) -> Result<void> {
    ::dup2(out, STDOUT_FILENO);
    std::vector<char*> arguments;
    for (const std::string& argument : argv)
      arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    ::execv(arguments[0], arguments.data());
    return fail_sys(Errc::system, errno, fmt::format("run {}", argv[0]));
  }));
  process.name_ = argv[0];
  return process;
}

Result<Process> Process::fork(const std::function<Result<void>(int out)>& body) {
  Pipe pipe = FERRY_TRY(make_pipe());
  const pid_t parent = ::getpid();
  const pid_t id = ::fork();
  if (id < 0) return fail_sys(Errc::system, errno, "fork");
  if (id == 0) {
    // Nothing outlives the benchmark, however that ends.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    const Result<void> done = body(pipe.write.get());
    if (!done) fmt::print(stderr, "{}\n", done.error().text());
    ::_exit(done ? 0 : 1);
  }
  return Process(id, std::move(pipe.read), "one side");
}

Process::Process(Process&& other) noexcept
    : id_(std::exchange(other.id_, -1)),
      output_(std::move(other.output_)),
      name_(std::move(other.name_)),
      unread_(std::move(other.unread_)) {}

Process::~Process() {
  if (id_ < 0) return;
  ::kill(id_, SIGKILL);
  ::waitpid(id_, nullptr, 0);
}

Result<std::string> Process::read_line() {
  for (;;) {
    if (const std::size_t end = unread_.find('\n'); end != std::string::npos) {
      std::string line = unread_.substr(0, end);
      unread_.erase(0, end + 1);
      return line;
    }
    std::array<char, 4096> buffer{};
    const ssize_t n = ::read(output_.get(), buffer.data(), buffer.size());
    if (n <= 0) return fail(Errc::disconnected, fmt::format("{}: ended without a word", name_));
    unread_.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

Result<Usage> Process::wait() {
  int status = 0;
  rusage used{};
  const pid_t ended = ::wait4(std::exchange(id_, -1), &status, 0, &used);
  if (ended < 0) return fail_sys(Errc::system, errno, fmt::format("wait for {}", name_));
  if (status != 0) return fail(Errc::guest, fmt::format("{}: {}", name_, how_it_ended(status)));
  return usage_of(used);
}

Result<void> in_a_child(const std::function<Result<void>()>& make) {
  Process child = FERRY_TRY(Process::fork([&make](int) { return make(); }));
  FERRY_TRY(child.wait());
  return {};
}

Result<double> cpu_seconds(pid_t id) {
  std::ifstream file(fmt::format("/proc/{}/stat", id));
  std::string line;
  std::getline(file, line);
  // Behind the name, which may have anything in it: state is field 3, utime 14, stime 15.
  std::istringstream fields(line.substr(std::min(line.rfind(')') + 1, line.size())));
  std::string skipped;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  long user = 0;
  long system = 0;
  if (!(fields >> user >> system)) return fail(Errc::system, "read a process's times");
  return static_cast<double>(user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

void write_line(int out, const std::string& line) {
  const std::string text = line + "\n";
  // A line fits into a pipe at once, and a reader that is gone is noticed by wait().
  [[maybe_unused]] const ssize_t n = ::write(out, text.data(), text.size());
}

void write_report(int out, const SideReport& report) {
  const auto calls = report.usage.system_calls;
  write_line(out, fmt::format("{} {} {} {} {} {} {} {}", report.begin.time_since_epoch().count(),
                              report.end.time_since_epoch().count(), report.usage.cpu_seconds,
                              report.usage.page_faults, report.usage.peak_rss_bytes,
                              calls ? static_cast<std::int64_t>(*calls) : -1, report.pages_seconds,
                              report.cipher.empty() ? k_no_cipher : report.cipher));
}

Result<SideReport> read_report(Process& side) {
  std::istringstream line(FERRY_TRY(side.read_line()));
  Clock::rep begin = 0;
  Clock::rep end = 0;
  std::int64_t calls = -1;
  SideReport report;
  line >> begin >> end >> report.usage.cpu_seconds >> report.usage.page_faults >>
      report.usage.peak_rss_bytes >> calls >> report.pages_seconds >> report.cipher;
  if (!line) return fail(Errc::protocol, "read one side's report");
  if (report.cipher == k_no_cipher) report.cipher.clear();
  if (calls >= 0) report.usage.system_calls = static_cast<std::uint64_t>(calls);
  report.begin = Clock::time_point(Clock::duration(begin));
  report.end = Clock::time_point(Clock::duration(end));
  return report;
}

}  // namespace ferry::bench
