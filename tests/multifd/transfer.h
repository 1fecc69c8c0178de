// Both halves of multifd with lines between them, and what a session does for them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/bounded_queue.h"
#include "base/first_error.h"
#include "multifd/page_receiver.h"
#include "multifd/page_sender.h"
#include "tests/multifd/placing_line.h"

namespace ferry::test {

/// A sender and a receiver of pages, joined by N page channels and a control channel. NAKs are
/// handed to the sender; the first failure on either side ends both. Driven by the test's thread.
class Transfer {
 public:
  enum class Line { buffer, socket, placing };
  struct Options {
    unsigned lanes = 1;
    Line line = Line::buffer;
    Motion motion = Motion::still;
    LaneOptions sending{};
    std::vector<std::uint64_t> flips{};    ///< bytes of every lane that are damaged on the way
    PlacingOptions placing{};              ///< of every lane, where the line is a placing one
    unsigned* copying_lanes = nullptr;     ///< counts those that copy before they place
    PageReceiver::KeepState keep_state{};  ///< where device state goes
  };

  Transfer(const GuestMemory& from, const GuestMemory& to, const Options& options);
  ~Transfer();

  /// Sends the next round, and waits until it is acknowledged. Returns the suspects; otherwise the
  /// first failure of all.
  Result<std::vector<PageRun>> round(const std::vector<PageWork>& work);
  Result<std::vector<PageRun>> round(const std::vector<PageRun>& runs);
  /// The same with whatever `submit` submits; false: what it submitted to was closed.
  Result<std::vector<PageRun>> round(const std::function<bool(PageSender&)>& submit);

  /// Between rounds: the guest writes no more.
  void stand_still() { motion_ = Motion::still; }

  PageSender& sender() { return *sender_; }
  PageReceiver& receiver() { return *receiver_; }

 private:
  void connect(const Options& options);
  void fail(Error error);
  void cut(Errc why);
  void read_control();
  Result<void> read_frames();

  Liveness liveness_;
  std::mutex failing_;  // held while the first failure ends both sides
  FirstError first_;
  BoundedQueue<wire::ControlFrame> frames_{64};
  std::unique_ptr<Link> source_control_;
  std::unique_ptr<Link> destination_control_;
  std::vector<std::unique_ptr<Link>> links_;  // the source's ends
  std::vector<std::unique_ptr<Link>> ends_;   // the destination's, until they are handed over
  std::unique_ptr<PageSender> sender_;
  std::unique_ptr<PageReceiver> receiver_;
  Motion motion_;
  std::uint32_t round_ = 0;
  std::thread control_reader_;
};

/// Two ends of a line.
ChannelPair make_line(Transfer::Line line, const PlacingOptions& placing = {});

}  // namespace ferry::test
