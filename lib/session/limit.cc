#include "session/limit.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "ferry/memory.h"

namespace ferry {
namespace {

using std::chrono::nanoseconds;

// Less than this says more of how threads were scheduled than of what limits anything.
constexpr std::chrono::milliseconds k_least{5};

/// A sentence, and the share of a time that is its reason.
struct Reason {
  std::string_view text;
  double time = 0;  // in any unit
};

template <std::size_t N>
Reason largest(const std::array<Reason, N>& reasons) {
  return *std::ranges::max_element(reasons, {}, &Reason::time);
}

std::string sentence(const Reason& reason, double total, std::string_view of) {
  return fmt::format("limited by {}, {:.0f} % of {} time", reason.text, 100 * reason.time / total,
                     of);
}

double as_number(nanoseconds part) { return static_cast<double>(part.count()); }

LaneTimes sum_of(std::span<const LaneReport> lanes) {
  LaneTimes times;
  for (const LaneReport& lane : lanes) times += lane.times;
  return times;
}

double busy(const wire::LaneTimesFrame& times) {
  return static_cast<double>(times.copying) + static_cast<double>(times.decrypting) +
         static_cast<double>(times.checking) + static_cast<double>(times.placing);
}

/// The receiver's lanes were at work while ours waited for them.
std::string of_receiver(const wire::LaneTimesFrame& times, std::uint64_t wire_bytes) {
  // Nearly each page of fresh memory costs a fault, and a fault as much as the copy behind it.
  const bool fresh = times.faults >= wire_bytes / k_unit_bytes / 2 && times.faults > 0;
  const Reason reason = largest(std::array{
      Reason{fresh ? "the receiver's memory: first-touch page faults"
                   : "the receiver's CPU: copying from the socket",
             static_cast<double>(times.copying)},
      Reason{"the receiver's CPU: decryption", static_cast<double>(times.decrypting)},
      Reason{"the receiver's CPU: checksums", static_cast<double>(times.checking)},
      Reason{"the receiver's files", static_cast<double>(times.placing)},
  });
  return sentence(reason, busy(times) + static_cast<double>(times.waiting), "its lanes'");
}

}  // namespace

std::string what_limited(std::span<const LaneReport> sender,
                         const std::optional<wire::LaneTimesFrame>& receiver) {
  const LaneTimes times = sum_of(sender);
  const double total = as_number(times.total());
  if (times.total() < k_least) return {};
  const std::string_view waiting = "waiting for the receiver";
  const std::string_view line = "the line: blocked on the socket";
  const Reason reason = largest(std::array{
      Reason{"the bound on bandwidth", as_number(times.bandwidth)},
      Reason{line, as_number(times.socket)},
      Reason{waiting, as_number(times.receiver)},
      Reason{"reading the sender's files", as_number(times.read)},
      Reason{"the sender's CPU: looking for zeros", as_number(times.scan)},
      Reason{"the sender's CPU: checksums", as_number(times.checksum)},
      Reason{"the sender's CPU: encryption", as_number(times.encrypt)},
      Reason{"the sender's CPU: copying to the socket", as_number(times.copy)},
      Reason{"the sender's rounds: lanes without work", as_number(times.idle)},
  });
  const bool ours_wait = reason.text == line || reason.text == waiting;
  if (ours_wait && receiver && busy(*receiver) > static_cast<double>(receiver->waiting)) {
    std::uint64_t wire_bytes = 0;
    for (const LaneReport& lane : sender) wire_bytes += lane.wire_bytes;
    return of_receiver(*receiver, wire_bytes);
  }
  return sentence(reason, total, "lane");
}

std::string what_limited_in_file(std::span<const LaneReport> lanes, FileWork work) {
  const LaneTimes times = sum_of(lanes);
  if (times.total() < k_least) return {};
  const bool saving = work == FileWork::save;
  const Reason reason = largest(std::array{
      Reason{"the bound on bandwidth", as_number(times.bandwidth)},
      Reason{saving ? "reading the guest's memory or image" : "reading the file",
             as_number(times.read)},
      Reason{saving ? "the CPU: zeros and checksums" : "the CPU: checksums",
             as_number(times.checksum)},
      Reason{saving ? "writing the file" : "writing to the guest's memory or image",
             as_number(times.place)},
      Reason{saving ? "the rounds: lanes without work" : "lanes without work",
             as_number(times.idle)},
  });
  return sentence(reason, as_number(times.total()), "lane");
}

}  // namespace ferry
