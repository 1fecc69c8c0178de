// Verbs without a device: connections and writes between threads of this process, and the failures
// that no device at hand produces.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "rdma/verbs.h"

namespace ferry::test {

/// What is to go wrong. Asked from any thread, with the fabric's mutex held but where it says else.
struct Faults {
  /// Of a registration: an errno, or 0.
  std::function<int(std::span<std::byte>, DeviceMay)> on_register{};
  /// Of a request: how it ends, if not well. The queue pair then fails.
  std::function<std::optional<Completion::Fate>(const SendRequest&)> on_send{};
  /// Of posting requests: an errno, or 0. Without the mutex: it may take as long as it wants.
  std::function<int()> on_post{};
  /// What the connection manager says in the place of something else.
  std::function<ConnectionEvent(ConnectionEvent)> on_event{};
};

/// Devices as RDMA has them: what is sent goes into buffers that the peer has posted, what is
/// written goes where the peer's registrations allow it, and a queue pair that has failed gives
/// back all that is posted. Thread-safe.
class Fabric {
 public:
  Fabric();
  ~Fabric();

  /// One more host on it. Its address is 127.0.0.1.
  std::shared_ptr<Verbs> verbs();
  void set_faults(Faults faults);
  /// How many bytes are registered now.
  std::uint64_t registered_bytes();
  /// And how many are so for peers to write to.
  std::uint64_t bytes_for_peers();

  class State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace ferry::test
