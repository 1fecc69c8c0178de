#include "rdma/lockable.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/resource.h>

#include <charconv>
#include <fstream>
#include <string_view>

namespace ferry {
namespace {

/// The number behind `name` in a line of /proc/self/status; 0 where there is none.
std::uint64_t number_in(std::string_view line, std::string_view name, int base) {
  if (!line.starts_with(name)) return 0;
  line.remove_prefix(name.size());
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  std::uint64_t number = 0;
  std::from_chars(line.data(), line.data() + line.size(), number, base);
  return number;
}

std::uint64_t kib_of(std::uint64_t bytes) { return bytes / 1024 + (bytes % 1024 != 0); }

}  // namespace

LockLimit lock_limit() {
  LockLimit limit;
  rlimit locked{};
  if (::getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_cur != RLIM_INFINITY) {
    limit.bytes = locked.rlim_cur;
  }
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    limit.pinned += 1024 * number_in(line, "VmPin:", 10);
    const std::uint64_t capabilities = number_in(line, "CapEff:", 16);
    if ((capabilities >> CAP_IPC_LOCK & 1) != 0) limit.bytes = LockLimit::k_none;
  }
  return limit;
}

Result<void> check_lockable(std::uint64_t more, const LockLimit& limit, const std::string& act) {
  if (limit.bytes == LockLimit::k_none) return {};
  if (limit.pinned <= limit.bytes && more <= limit.bytes - limit.pinned) return {};
  return fail(
      Errc::system,
      fmt::format("{}: the limit on locked memory (RLIMIT_MEMLOCK) is {} KiB, and must be "
                  "at least {} KiB",
                  act, limit.bytes / 1024, kib_of(limit.pinned + more)),
      "ulimit -l in a shell, LimitMEMLOCK= in a service; --rdma-pin bounds what pages need");
}

}  // namespace ferry
