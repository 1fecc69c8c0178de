// A network that can be stopped in the middle of a transfer.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "ferry/unique_fd.h"

namespace ferry {

/// Listens on loopback and passes every connection on to `port`, both ways. After `bytes` towards
/// the port a connection is held: it passes no more in that direction until release(), but a close
/// at either end still reaches the other. A control channel says so little that it is never held;
/// page channels of an image that is large enough always are. So a transfer is in its middle for
/// as long as a test wants, whatever the machine's speed.
class HoldingRelay {
 public:
  HoldingRelay(std::uint16_t port, std::uint64_t bytes);
  HoldingRelay(const HoldingRelay&) = delete;
  HoldingRelay& operator=(const HoldingRelay&) = delete;
  ~HoldingRelay();

  /// Where it listens.
  std::string uri() const;
  /// Blocks until a connection is held; false where that takes too long.
  bool wait_until_held();
  void release();

 private:
  struct Connection {
    UniqueFd client, server;
    std::thread up, down;
  };

  void accept_all();
  void pass(Connection& connection, const UniqueFd& from, const UniqueFd& to, std::uint64_t limit);
  void hold(const Connection& connection);

  const std::uint16_t target_;
  const std::uint64_t limit_;
  UniqueFd listener_;
  UniqueFd released_;  // an eventfd that stays readable
  std::mutex mutex_;
  std::condition_variable change_;
  bool held_ = false;
  std::list<Connection> connections_;  // of the accepting thread until it has ended
  std::thread accepting_;
};

/// Connects to a loopback port, as a stranger would.
UniqueFd connect_to(std::uint16_t port);
/// A socket that listens on loopback and never accepts, and its port.
struct DeafListener {
  DeafListener();
  UniqueFd socket;
  std::uint16_t port = 0;
};

}  // namespace ferry
