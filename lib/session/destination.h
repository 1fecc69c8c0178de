// The destination's half of a migration.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/bounded_queue.h"
#include "base/first_error.h"
#include "ferry/guest.h"
#include "ferry/runtime.h"
#include "multifd/page_receiver.h"
#include "session/conversation.h"
#include "session/rendezvous.h"
#include "session/state.h"
#include "session/state_spool.h"

namespace ferry {

/// Receives one guest, once. Everything that calls the guest happens on the thread that calls
/// listen() or adopt(), and then run().
class Destination {
 public:
  Destination(Runtime& runtime, DestinationGuest& guest, const ReceiveOptions& options,
              std::stop_token stop);
  ~Destination();

  /// First of all, one of these: wait at an address for a source (as long as it takes; but one that
  /// is there already, by Lines::one, has the time-out), or take a channel that is there already
  /// and over which one will speak.
  Result<void> listen(Transport& transport, const Uri& at);
  Result<void> adopt(std::unique_ptr<Channel> solo);

  /// Receives the guest, and runs it.
  Result<void> run();

  DestinationState state() const noexcept { return state_; }
  void add_to(Report& report) const;

 private:
  struct Arrival {
    wire::Hello hello;
    std::unique_ptr<Channel> channel;
  };

  Result<void> converse(std::unique_ptr<Channel> channel);
  Result<void> receive();
  Result<void> on(const wire::LayoutFrame& frame);
  Result<void> on(const wire::AddChannels& frame);
  Result<void> on(const wire::ReplaceChannel& frame);
  Result<void> on(const wire::Prepare& frame);
  Result<void> on(const wire::Commit& frame);
  template <class Frame>
  Result<void> on(const Frame& frame);

  Result<GuestMemory> map_memory(const Layout& wanted);
  void receive_pages(unsigned lanes);
  Result<bool> intercept(const wire::ControlFrame& frame);
  Result<void> load_state();
  wire::LaneTimesFrame lane_times() const;
  Result<void> check_digests(const std::vector<wire::Digest>& digests);
  Result<void> take_packet(std::span<const std::byte> header, Link& link);
  void page_channel(const wire::Hello& hello, std::unique_ptr<Channel> channel);
  void cut(Errc why);
  std::uint64_t bytes_verified() const;
  std::shared_ptr<PageReceiver> pages() const;
  Result<void> enter(DestinationEvent event);

  Runtime& runtime_;
  DestinationGuest& guest_;
  const ReceiveOptions& options_;
  const std::stop_token stop_;
  std::stop_source over_;  // the session has failed
  Clock::time_point began_ = Clock::now();
  DestinationState state_ = DestinationState::waiting;
  GuestMemory memory_;
  Verify verified_ = Verify::pages;
  bool solo_ = false;
  unsigned lanes_ = 0;
  ChannelInfo info_;  // of the control channel

  BoundedQueue<Arrival> arrivals_;  // the control channel
  FirstError door_error_;
  // Filled by the control channel's reader and by lanes until PREPARE, read by run() after it.
  StateSpool device_state_;
  std::unique_ptr<Conversation> conversation_;

  mutable std::mutex mutex_;  // guards the pointer
  // Shared for a moment with whoever on another thread has just asked for it.
  std::shared_ptr<PageReceiver> pages_;

  std::unique_ptr<Rendezvous> rendezvous_;  // last: it calls into all of the above
};

}  // namespace ferry
