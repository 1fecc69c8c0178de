#include "bench/command_run.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "bench/data.h"
#include "bench/process.h"
#include "ferry/unique_fd.h"

namespace ferry::bench {
namespace {

constexpr std::string_view k_listening = "listening on ";

/// Both sides of a transfer, under way.
struct Sides {
  Clock::time_point begin;
  Process receive;
  Process send;
};

Result<std::string> where_it_listens(Process& receiver) {
  const std::string line = FERRY_TRY(receiver.read_line());
  if (!line.starts_with(k_listening)) {
    return fail(Errc::protocol, fmt::format("a receiver said '{}' first", line));
  }
  return line.substr(k_listening.size());
}

Result<Sides> start_ferry(const Commands& commands, const ImageTransfer& transfer) {
  const Clock::time_point begin = Clock::now();
  Process receive =
      FERRY_TRY(Process::start({commands.receive, "--quiet", "--poller", commands.poller, "-o",
                                transfer.output, transfer.scheme + "://127.0.0.1:0"}));
  const std::string uri = FERRY_TRY(where_it_listens(receive));
  Process send =
      FERRY_TRY(Process::start({commands.send, "--quiet", "--poller", commands.poller, "--channels",
                                std::to_string(transfer.channels), transfer.image, uri}));
  return Sides{begin, std::move(receive), std::move(send)};
}

Result<Sides> start_bare(const Commands& commands, const ImageTransfer& transfer) {
  const std::string channels = std::to_string(transfer.channels);
  const Clock::time_point begin = Clock::now();
  Process receive = FERRY_TRY(Process::start(
      {commands.bare_limit, "recv", transfer.output, std::to_string(transfer.bytes), channels}));
  const std::string port = FERRY_TRY(where_it_listens(receive));
  Process send =
      FERRY_TRY(Process::start({commands.bare_limit, "send", transfer.image, port, channels}));
  return Sides{begin, std::move(receive), std::move(send)};
}

/// The host of a virtual machine may have taken memory back that was free for some seconds (free
/// page reporting, Documentation/mm/free_page_reporting.rst), and which run gets it anew, slowly,
/// would be chance. As much as the output needs is used once before either, by neither.
Result<void> call_memory_back(const ImageTransfer& transfer) {
  struct stat status {};
  if (::stat(transfer.image.c_str(), &status) != 0) {
    return fail_sys(Errc::system, errno, fmt::format("look at {}", transfer.image));
  }
  return in_a_child([bytes = static_cast<std::uint64_t>(status.st_blocks) * 512]() -> Result<void> {
    (void)FERRY_TRY(Mapping::populated(bytes));
    return {};
  });
}

Result<Run> finish(Sides sides, const ImageTransfer& transfer) {
  const ScratchFile output(transfer.output);
  Run run;
  run.send = FERRY_TRY(sides.send.wait());
  run.receive = FERRY_TRY(sides.receive.wait());
  run.seconds = seconds_between(sides.begin, Clock::now());
  FERRY_TRY(in_a_child([&] { return expect_same_image(transfer.output, transfer.image); }));
  return run;
}

/// Anonymous memory and mapped files of a process, in bytes; 0 once it has ended.
std::uint64_t own_memory(pid_t id) {
  std::ifstream status(fmt::format("/proc/{}/status", id));
  std::uint64_t kib = 0;
  for (std::string word; status >> word;) {
    std::uint64_t value = 0;
    if ((word == "RssAnon:" || word == "RssFile:") && status >> value) kib += value;
  }
  return kib * 1024;
}

/// A descriptor that is readable from a child's end on.
Result<UniqueFd> watch(pid_t id) {
  UniqueFd watched(static_cast<int>(::syscall(SYS_pidfd_open, id, 0)));
  if (!watched) return fail_sys(Errc::system, errno, "watch a process");
  return watched;
}

/// Waits for a millisecond, or for the end of the process if that comes before: true, then.
bool ends(const UniqueFd& watched) {
  pollfd one{watched.get(), POLLIN, 0};
  return ::poll(&one, 1, 1) > 0;
}

}  // namespace

Result<Commands> find_commands() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path build = self.parent_path().parent_path();
  Commands found{.send = build / "migrate-send/migrate-send",
                 .receive = build / "migrate-recv/migrate-recv",
                 .bare_limit = build / "bench/bare-limit"};
  for (const std::string& command : {found.send, found.receive, found.bare_limit}) {
    if (::access(command.c_str(), X_OK) != 0) {
      return fail(Errc::system, fmt::format("find {}", command), "is it built?");
    }
  }
  return found;
}

Result<Run> ferry_image(const Commands& commands, const ImageTransfer& transfer) {
  FERRY_TRY(call_memory_back(transfer));
  Sides sides = FERRY_TRY(start_ferry(commands, transfer));
  return finish(std::move(sides), transfer);
}

Result<Run> bare_image(const Commands& commands, const ImageTransfer& transfer) {
  FERRY_TRY(call_memory_back(transfer));
  Sides sides = FERRY_TRY(start_bare(commands, transfer));
  return finish(std::move(sides), transfer);
}

Result<PeakMemory> peak_memory(const Commands& commands, const ImageTransfer& transfer) {
  Sides sides = FERRY_TRY(start_ferry(commands, transfer));
  PeakMemory peak;
  const UniqueFd sender = FERRY_TRY(watch(sides.send.id()));
  const UniqueFd receiver = FERRY_TRY(watch(sides.receive.id()));
  for (const UniqueFd* const side : {&sender, &receiver}) {
    do {
      peak.send_bytes = std::max(peak.send_bytes, own_memory(sides.send.id()));
      peak.receive_bytes = std::max(peak.receive_bytes, own_memory(sides.receive.id()));
    } while (!ends(*side));
  }
  FERRY_TRY(finish(std::move(sides), transfer));
  return peak;
}

Result<Run> start_up(const std::string& command) {
  const Clock::time_point begin = Clock::now();
  Process process = FERRY_TRY(Process::start({command, "--version"}));
  Run run;
  run.send = FERRY_TRY(process.wait());
  run.seconds = seconds_between(begin, Clock::now());
  return run;
}

}  // namespace ferry::bench
