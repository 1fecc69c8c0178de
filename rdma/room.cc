#include "rdma/room.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <string_view>
#include <vector>

namespace ferry {
namespace {

// At a time: a tenth of a second or so to zero, and a list of 64 KiB to look at.
constexpr std::uint64_t k_step_bytes = 256 * 1024 * 1024;

/// The number in the line of a file that begins with `name`; of a file of one number, with none.
std::optional<std::uint64_t> number_behind(const std::string& path, std::string_view name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(name)) continue;
    std::string_view rest = std::string_view(line).substr(name.size());
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    std::uint64_t number = 0;
    const auto read = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (read.ec == std::errc()) return number;
    return std::nullopt;
  }
  return std::nullopt;
}

/// What a control group leaves, its cache of files counted as free; nothing where it has no limit.
std::optional<std::uint64_t> left_by(const std::string& group) {
  const auto most = number_behind(group + "/memory.max", {});
  const auto used = number_behind(group + "/memory.current", {});
  if (!most || !used) return std::nullopt;
  const std::uint64_t cache = number_behind(group + "/memory.stat", "inactive_file ").value_or(0);
  const std::uint64_t held = *used - std::min(*used, cache);
  return *most - std::min(*most, held);
}

/// The path of this process's control group below its root; empty where there is none.
std::string own_group() {
  constexpr std::string_view k_version_2 = "0::";
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (line.starts_with(k_version_2)) return line.substr(k_version_2.size());
  }
  return {};
}

bool comes_with_a_touch(const MemoryRegion& region) noexcept {
  return region.length > 0 && region.host != nullptr &&
         (region.backing == Backing::anonymous || region.backing == Backing::shmem);
}

/// Calls `deal_with(at, length)` for a step of a region after the other, in whole pages, until it
/// gives false.
template <class F>
bool for_each_step(const GuestMemory& memory, F deal_with) {
  for (const MemoryRegion& region : memory.regions()) {
    if (!comes_with_a_touch(region)) continue;
    for (std::uint64_t at = 0; at < region.length; at += k_step_bytes) {
      if (!deal_with(region.host + at, std::min(k_step_bytes, region.length - at))) return false;
    }
  }
  return true;
}

double in_mib(std::uint64_t bytes) { return static_cast<double>(bytes) / 0x1p20; }

}  // namespace

MemoryLeft memory_left() {
  MemoryLeft left;
  const std::string machine = "/proc/meminfo";
  if (const auto available = number_behind(machine, "MemAvailable:")) {
    left.bytes = 1024 * (*available + number_behind(machine, "SwapFree:").value_or(0));
  }
  for (std::string group = own_group(); group.size() > 1;
       group.erase(std::min(group.rfind('/'), group.size()))) {
    const auto most = left_by("/sys/fs/cgroup" + group);
    if (most && *most < left.bytes) left = {*most, "the control group " + group};
  }
  // A container sees its own control group as the root of all, limit and all.
  const auto most = left_by("/sys/fs/cgroup");
  if (most && *most < left.bytes) left = {*most, "the control group of this container"};
  return left;
}

std::uint64_t bytes_to_come(const GuestMemory& memory) {
  const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> there(k_step_bytes / page_bytes);
  std::uint64_t bytes = 0;
  for_each_step(memory, [&](std::byte* at, std::uint64_t length) {
    const std::uint64_t pages = (length + page_bytes - 1) / page_bytes;
    // Where it cannot be asked, nothing is known to be missing.
    if (::mincore(at, length, there.data()) != 0) return true;
    const auto missing = [](unsigned char page) { return (page & 1) == 0; };
    bytes += page_bytes *
             static_cast<std::uint64_t>(std::count_if(
                 there.begin(), there.begin() + static_cast<std::ptrdiff_t>(pages), missing));
    return true;
  });
  return bytes;
}

Result<void> check_room(std::uint64_t more, const MemoryLeft& left, const std::string& act) {
  if (more <= left.bytes) return {};
  return fail(Errc::system,
              fmt::format("{}: {:.1f} MiB of it are to be pinned and not there yet, and {} has "
                          "{:.1f} MiB left",
                          act, in_mib(more), left.whose, in_mib(left.bytes)),
              "images need none over a transport that streams (tcp://, tls://)");
}

Result<void> make_come(const GuestMemory& memory, const std::stop_token& stop,
                       const std::string& act) {
  for_each_step(memory, [&](std::byte* at, std::uint64_t length) {
    // What it cannot do the registration will say.
    return !stop.stop_requested() && ::madvise(at, length, MADV_POPULATE_WRITE) == 0;
  });
  if (stop.stop_requested()) return fail(Errc::cancelled, act + ": cancelled");
  return {};
}

}  // namespace ferry
