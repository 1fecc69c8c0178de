#include "bench/guest_run.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "bench/library_run.h"
#include "bench/process.h"

namespace ferry::bench {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;

/// Reads on until it says that, and returns what it said.
Result<json> wait_for(Process& process, const std::string& event) {
  while (true) {
    const std::string line = FERRY_TRY(process.read_line());
    json said = json::parse(line, nullptr, false);
    const std::string name = said.is_object() ? said.value("event", "") : "";
    if (name == event) return said;
    if (name == "failed") return fail(Errc::guest, fmt::format("a guest: {}", line));
  }
}

Result<Process> start(const GuestMigration& guest, Words more) {
  Words argv{guest.program.path,
             "--memory",
             fmt::format("{}B", guest.bytes),
             guest.program.workers,
             std::to_string(guest.workers),
             "--dirty-rate",
             fmt::format("{}B/s", guest.dirty_rate),
             "--fill",
             "noise"};
  if (!guest.tracker.empty()) more.insert(more.end(), {"--tracker", guest.tracker});
  argv.insert(argv.end(), more.begin(), more.end());
  return Process::start(argv);
}

/// In which the guest has written to all of its memory once. Until then it takes page faults of its
/// own, which are nobody's else: both runs begin behind it.
std::chrono::milliseconds warm_up(const GuestMigration& guest) {
  constexpr std::chrono::milliseconds k_spare{500};
  if (guest.dirty_rate == 0) return k_spare;
  return k_spare + std::chrono::milliseconds(1000 * guest.bytes / guest.dirty_rate);
}

/// What both sides have used so far.
struct CpuSeconds {
  double source;
  double destination;
};
Result<CpuSeconds> used(const Process& source, const Process& destination) {
  return CpuSeconds{FERRY_TRY(cpu_seconds(source.id())), FERRY_TRY(cpu_seconds(destination.id()))};
}

Result<bool> runs_here(const std::string& path) {
  if (::access(path.c_str(), X_OK) != 0) return false;
  Process trial = FERRY_TRY(Process::start({path, "--memory", "16MiB", "--run-for", "0s"}));
  return trial.wait().has_value();
}

}  // namespace

Result<GuestProgram> find_guest_program() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path examples = self.parent_path().parent_path() / "examples";
  for (const GuestProgram& program :
       {GuestProgram{examples / "tiny-vmm/tiny-vmm", "--vcpus", {"ring", "log"}},
        GuestProgram{examples / "process-guest/process-guest", "--threads", {""}}}) {
    if (FERRY_TRY(runs_here(program.path))) return program;
  }
  return fail(Errc::unsupported, "neither tiny-vmm nor process-guest can run here",
              "are the examples built?");
}

Result<GuestRun> migrate_guest(const GuestMigration& migration) {
  Process destination = FERRY_TRY(
      start(migration, {"--populate", "--incoming", "tcp://127.0.0.1:0", "--run-for", "500ms"}));
  const json listening = FERRY_TRY(wait_for(destination, "listening"));
  Process source =
      FERRY_TRY(start(migration, {"--migrate", listening.value("uri", ""), "--after",
                                  fmt::format("{}ms", warm_up(migration).count()), "--max-downtime",
                                  fmt::format("{}ms", migration.max_downtime.count()), "--channels",
                                  std::to_string(migration.channels)}));
  FERRY_TRY(wait_for(source, "migrating"));
  const CpuSeconds before = FERRY_TRY(used(source, destination));
  const json migrated = FERRY_TRY(wait_for(source, "migrated"));
  const CpuSeconds after = FERRY_TRY(used(source, destination));
  const json done = FERRY_TRY(wait_for(destination, "done"));
  FERRY_TRY(source.wait());
  FERRY_TRY(destination.wait());

  GuestRun result;
  result.run.seconds = migrated.value("total_ms", 0.0) / 1e3;
  result.run.send.cpu_seconds = after.source - before.source;
  result.run.receive.cpu_seconds = after.destination - before.destination;
  result.downtime_ms = migrated.value("downtime_ms", 0.0);
  result.longest_gap_ms = done.value("longest_gap_ms", 0.0);
  result.rounds = static_cast<double>(migrated.value("rounds", json::array()).size());
  result.wire_bytes = migrated.value("wire_bytes", std::uint64_t{0});
  return result;
}

Result<Run> bare_beside_guest(const GuestMigration& migration, std::uint64_t bytes) {
  Process guest = FERRY_TRY(start(migration, {"--run-for", "600s"}));
  FERRY_TRY(wait_for(guest, "running"));
  std::this_thread::sleep_for(warm_up(migration));
  Result<Run> copied = bare_memory({.bytes = bytes, .channels = migration.channels});
  ::kill(guest.id(), SIGTERM);
  FERRY_TRY(guest.wait());
  return copied;
}

}  // namespace ferry::bench
