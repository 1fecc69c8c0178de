// The calls of librdmacm and libibverbs that Ferry uses, and no others: what a test can put itself
// in the place of. Nothing here waits; whoever has to wait polls the descriptors.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ferry/result.h"
#include "loop/socket_address.h"

namespace ferry {

/// What a device may do with registered memory.
enum class DeviceMay {
  read,             ///< send from it, write from it to the peer
  receive,          ///< put received messages there
  let_peers_write,  ///< put there what a peer writes
};

/// Memory that a device knows, and that is pinned. Destroying it deregisters: when that returns the
/// device touches the memory no more, and who still uses the key fails.
class Registration {
 public:
  virtual ~Registration() = default;
  virtual std::uint32_t local_key() const noexcept = 0;
  virtual std::uint32_t remote_key() const noexcept = 0;
};

/// A protection domain of one device: keys are good in it alone. Thread-safe. Outlives what was
/// made in it.
class RdmaDomain {
 public:
  virtual ~RdmaDomain() = default;
  /// The memory stays the caller's, mapped until the Registration is gone. Errc::system.
  virtual Result<std::unique_ptr<Registration>> register_memory(std::span<std::byte> memory,
                                                                DeviceMay may) = 0;
};

/// Registered memory, as a request names it.
struct Segment {
  std::byte* at = nullptr;
  std::uint32_t length = 0;
  std::uint32_t key = 0;
};

/// Does a request that succeeds say so? One that fails always does.
enum class Signalled { no, yes };

/// Of the queue of what is sent.
struct SendRequest {
  enum class Kind {
    message,  ///< into the next buffer that the peer has posted
    write,    ///< to `remote_address`, with no word to the peer
  };
  Kind kind = Kind::message;
  std::uint64_t id = 0;
  Signalled signalled = Signalled::no;
  Segment from{};
  std::uint64_t remote_address = 0;
  std::uint32_t remote_key = 0;
};

/// How a request ended. Those of a queue end in their order, and one that is signalled speaks for
/// all before it.
struct Completion {
  enum class Fate {
    done,
    flushed,      ///< the queue pair had failed before
    no_answer,    ///< the peer's device does not answer any more (retry exceeded)
    no_room,      ///< the peer had no buffer posted (receiver not ready)
    not_allowed,  ///< the peer's device would not have it there (remote access)
    failed,       ///< something else
  };
  std::uint64_t id = 0;
  Fate fate = Fate::done;
  std::uint32_t bytes = 0;  ///< received
  std::string why{};        ///< the device's words for a fate that is not done
};

/// A queue pair, its two completion queues, and the channel that tells of both.
class QueuePair {
 public:
  enum class Side { sending, receiving };

  virtual ~QueuePair() = default;
  virtual Result<void> post_receive(std::uint64_t id, Segment into) = 0;
  /// In one call to the device. A failure says that the queue pair is of no use any more.
  virtual Result<void> post(std::span<const SendRequest> requests) = 0;
  /// How many there were, at most as many as there is room for.
  virtual Result<std::size_t> poll(Side side, std::span<Completion> into) = 0;
  /// The next completion of that side that is not polled yet makes fd() readable. One shot. Who
  /// arms polls once more before waiting.
  virtual Result<void> arm(Side side) = 0;
  virtual int fd() const noexcept = 0;
  /// Makes fd() silent until the next one.
  virtual Result<void> take_events() = 0;
  /// Whether the peer may write to what is registered for that. A new queue pair is as the
  /// connection manager made it: set this when the connection stands.
  enum class PeerMay { only_send, write_too };
  virtual Result<void> let_peer(PeerMay may) = 0;
};

/// What the connection manager says.
struct ConnectionEvent {
  enum class Kind {
    address_resolved,
    route_resolved,
    established,
    disconnected,
    refused,    ///< the peer would not have us, or nobody listens there
    no_device,  ///< no device serves this address
    unreachable,
    device_removed,
    irrelevant,
  };
  Kind kind = Kind::irrelevant;
  int sys = 0;                        ///< why, an errno; 0 where there is none
  std::vector<std::byte> greeting{};  ///< the peer's private data
};

/// How long a queue each side of a queue pair has.
struct QueueLengths {
  std::uint32_t sending = 0;
  std::uint32_t receiving = 0;
};

/// One connection of the connection manager, and the descriptor on which it tells of it. Its
/// QueuePair goes before it.
class Connection {
 public:
  virtual ~Connection() = default;
  virtual int fd() const noexcept = 0;
  /// Never blocks: none where there is nothing to tell.
  virtual Result<std::optional<ConnectionEvent>> next_event() = 0;

  virtual Result<void> resolve_address(const SocketAddress& to, std::chrono::milliseconds most) = 0;
  virtual Result<void> resolve_route(std::chrono::milliseconds most) = 0;

  /// The name of its device, once there is one: "mlx5_0".
  virtual std::string device() const = 0;
  virtual Result<std::unique_ptr<RdmaDomain>> make_domain() = 0;
  virtual Result<std::unique_ptr<QueuePair>> make_queue_pair(RdmaDomain& domain,
                                                             QueueLengths lengths) = 0;

  /// Asks the peer, or says yes to it. `greeting` has at most 56 bytes.
  virtual Result<void> connect(std::span<const std::byte> greeting) = 0;
  virtual Result<void> accept(std::span<const std::byte> greeting) = 0;
  /// Tells the peer, and fails the queue pair: what is still posted is flushed.
  virtual void disconnect() noexcept = 0;

  virtual SocketAddress local() const = 0;
  virtual SocketAddress peer() const = 0;
};

/// A peer that asks. Dropping it refuses.
struct Caller {
  std::unique_ptr<Connection> connection;
  std::vector<std::byte> greeting;
};

class ListeningConnection {
 public:
  virtual ~ListeningConnection() = default;
  virtual int fd() const noexcept = 0;
  /// Never blocks. A caller that was gone again is none.
  virtual Result<std::optional<Caller>> next_caller() = 0;
  virtual std::uint16_t port() const = 0;
};

/// Where it all comes from.
class Verbs {
 public:
  virtual ~Verbs() = default;
  /// Errc::unreachable where this host has no RDMA.
  virtual Result<std::unique_ptr<Connection>> make_connection() = 0;
  virtual Result<std::unique_ptr<ListeningConnection>> listen(const SocketAddress& at) = 0;
  /// Addresses of this host that a device serves.
  virtual std::vector<SocketAddress> own_addresses() = 0;
};

/// rdma-core's.
std::unique_ptr<Verbs> make_verbs();

}  // namespace ferry
