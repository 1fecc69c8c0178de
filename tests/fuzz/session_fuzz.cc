// A whole session against a receiver: whatever a peer says on its lines, in whatever order, the
// receiver ends in bounded time, starts a guest only for a commit, and leaves nothing behind.
#include <unistd.h>

#include <future>
#include <string>

#include "channels/unix.h"
#include "ferry/ferry.h"
#include "tests/fuzz/fuzzed_peer.h"
#include "tests/session/memory_guest.h"

namespace ferry::fuzz {
namespace {

constexpr std::chrono::seconds k_silence{3};
constexpr std::chrono::seconds k_hang{20};

// The guest judges what is asked of it, as a VMM does.
constexpr std::uint64_t k_most_memory = 1 << 20;

/// A guest with little memory.
class SmallGuest final : public DestinationGuest {
 public:
  Result<GuestMemory> map_memory(const Layout& wanted) override {
    std::uint64_t bytes = 0;  // at most 16 TiB, by the limits of the wire
    for (const LayoutRegion& region : wanted.regions) bytes += region.length;
    if (bytes > k_most_memory) return fail(Errc::guest, "map memory: too much");
    return guest_.map_memory(wanted);
  }
  /// Takes whatever comes, by turns in numbers, strings and as it lies.
  Result<void> load_state(StateReader& in) override {
    while (const auto section = FERRY_TRY(in.next())) {
      if (section->version % 2 == 0) (void)FERRY_TRY(in.string());
      while (in.remaining() >= 100) (void)FERRY_TRY(in.some(100));
      while (in.remaining() > 0) (void)FERRY_TRY(in.u8());
    }
    return {};
  }
  Result<void> prepare() override { return guest_.prepare(); }
  Result<void> start(const OwnerToken& token) override { return guest_.start(token); }

  unsigned starts() const noexcept { return guest_.starts(); }
  unsigned prepares() const noexcept { return guest_.prepares(); }

 private:
  test::MemoryDestination guest_;
};

void run(const SessionScript& script) {
  auto runtime = make_runtime().value();
  SmallGuest guest;
  std::promise<void> listening;
  ReceiveOptions options{.timeout = k_silence, .max_state_bytes = k_most_memory, .observer = {}};
  options.observer.listening = [&listening](const Uri&, Reach) { listening.set_value(); };
  const std::string address = "ferry-fuzz-" + std::to_string(::getpid());
  std::stop_source stop;
  auto receiving = std::async(std::launch::async, [&] {
    return receive(*runtime, guest, "unix://@" + address, options, stop.get_token());
  });
  listening.get_future().wait();

  FuzzedPeer peer(address);
  peer.say(script);
  // A receiver whose session never began waits for another sender, for as long as it takes.
  if (!peer.end(script.ending)) stop.request_stop();
  demand(receiving.wait_for(k_hang) == std::future_status::ready, "a receiver ends");

  const Outcome outcome = receiving.get();
  demand(outcome.ok() == (outcome.owner == Owner::destination), "a failure has no owner here");
  demand(guest.starts() == (outcome.ok() ? 1u : 0u), "a guest is started once, or not at all");
  demand(guest.starts() <= guest.prepares(), "nothing starts that is not durable");
}

}  // namespace
}  // namespace ferry::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ferry::fuzz::run(ferry::fuzz::script_of(ferry::fuzz::bytes_of(data, size)));
  return 0;
}
