#include "tests/rdma/fabric.h"

#include <arpa/inet.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include "ferry/unique_fd.h"

namespace ferry::test {
namespace {

using Side = QueuePair::Side;

UniqueFd event_fd() { return UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }
void raise(const UniqueFd& fd) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(fd.get(), &one, sizeof one);
}
void lower(const UniqueFd& fd) {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t bytes = ::read(fd.get(), &count, sizeof count);
}

SocketAddress loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  SocketAddress out;
  std::memcpy(&out.storage, &address, sizeof address);
  out.length = sizeof address;
  return out;
}

struct Posted {
  std::uint64_t id = 0;
  Segment into;
};

struct Completions {
  std::deque<Completion> found;
  bool armed = false;
};

struct Queues {
  UniqueFd fd = event_fd();
  Completions sent;
  Completions received;
  std::deque<Posted> receives;
  QueueLengths lengths;
  bool failed = false;
  QueuePair::PeerMay peer_may = QueuePair::PeerMay::write_too;

  void complete(Completions& side, Completion how) {
    side.found.push_back(std::move(how));
    if (std::exchange(side.armed, false)) raise(fd);
  }
  void fail() {
    if (std::exchange(failed, true)) return;
    for (const Posted& posted : std::exchange(receives, {})) {
      complete(received, {.id = posted.id, .fate = Completion::Fate::flushed, .why = "flushed"});
    }
  }
};

/// One side of a connection.
struct End {
  UniqueFd fd = event_fd();
  std::deque<ConnectionEvent> events;
  std::weak_ptr<End> peer;
  std::shared_ptr<Queues> queues;
  std::vector<std::byte> greeting;
  bool hung_up = false;
  std::uint16_t port = 0;
};

struct FabricDoor {
  UniqueFd fd = event_fd();
  std::deque<std::shared_ptr<End>> callers;
};

struct Registered {
  std::span<std::byte> memory;
  DeviceMay may;
};

}  // namespace

class Fabric::State {
 public:
  std::mutex mutex;
  Faults faults;
  std::map<std::uint16_t, std::shared_ptr<FabricDoor>> doors;
  std::map<std::uint32_t, Registered> registered;  // by key
  std::uint16_t next_port = 1000;
  std::uint32_t next_key = 1;

  void say(End& end, ConnectionEvent event) {
    if (faults.on_event) event = faults.on_event(std::move(event));
    end.events.push_back(std::move(event));
    raise(end.fd);
  }

  void hang_up(End& end) {
    if (std::exchange(end.hung_up, true)) return;
    if (end.queues) end.queues->fail();
    if (auto peer = end.peer.lock()) say(*peer, {.kind = ConnectionEvent::Kind::disconnected});
  }

  /// What becomes of a request; done where it went well.
  Completion::Fate carry_out(End& from, const SendRequest& request) {
    using enum Completion::Fate;
    if (faults.on_send) {
      if (const auto fate = faults.on_send(request)) return *fate;
    }
    const auto peer = from.peer.lock();
    if (!peer || !peer->queues || peer->queues->failed) return no_answer;
    return request.kind == SendRequest::Kind::message ? deliver(*peer->queues, request)
                                                      : write(*peer->queues, request);
  }

 private:
  static Completion::Fate deliver(Queues& to, const SendRequest& request) {
    if (to.receives.empty()) return Completion::Fate::no_room;
    const Posted posted = to.receives.front();
    to.receives.pop_front();
    if (request.from.length > posted.into.length) return Completion::Fate::failed;
    std::memcpy(posted.into.at, request.from.at, request.from.length);
    to.complete(to.received, {.id = posted.id, .bytes = request.from.length});
    return Completion::Fate::done;
  }

  Completion::Fate write(Queues& to, const SendRequest& request) {
    const auto found = registered.find(request.remote_key);
    const bool allowed = to.peer_may == QueuePair::PeerMay::write_too &&
                         found != registered.end() &&
                         found->second.may == DeviceMay::let_peers_write;
    if (allowed) {
      const auto begin = reinterpret_cast<std::uint64_t>(found->second.memory.data());
      const std::uint64_t offset = request.remote_address - begin;
      const std::uint64_t size = found->second.memory.size();
      if (request.remote_address >= begin && offset <= size &&
          request.from.length <= size - offset) {
        std::memcpy(found->second.memory.data() + offset, request.from.at, request.from.length);
        return Completion::Fate::done;
      }
    }
    to.fail();  // as a device does that was asked for what it must not do
    return Completion::Fate::not_allowed;
  }
};

namespace {

using StatePtr = std::shared_ptr<Fabric::State>;

class FabricRegistration final : public Registration {
 public:
  FabricRegistration(StatePtr state, std::uint32_t key) : state_(std::move(state)), key_(key) {}
  ~FabricRegistration() override {
    const std::lock_guard lock(state_->mutex);
    state_->registered.erase(key_);
  }
  std::uint32_t local_key() const noexcept override { return key_; }
  std::uint32_t remote_key() const noexcept override { return key_; }

 private:
  const StatePtr state_;
  const std::uint32_t key_;
};

class FabricDomain final : public RdmaDomain {
 public:
  explicit FabricDomain(StatePtr state) : state_(std::move(state)) {}
  Result<std::unique_ptr<Registration>> register_memory(std::span<std::byte> memory,
                                                        DeviceMay may) override {
    const std::lock_guard lock(state_->mutex);
    const int sys = state_->faults.on_register ? state_->faults.on_register(memory, may) : 0;
    if (sys != 0) return fail_sys(Errc::system, sys, "register memory");
    const std::uint32_t key = state_->next_key++;
    state_->registered[key] = {memory, may};
    return std::make_unique<FabricRegistration>(state_, key);
  }

 private:
  const StatePtr state_;
};

class FabricQueuePair final : public QueuePair {
 public:
  FabricQueuePair(StatePtr state, std::shared_ptr<End> end)
      : state_(std::move(state)), end_(std::move(end)), queues_(end_->queues) {}
  ~FabricQueuePair() override {
    const std::lock_guard lock(state_->mutex);
    end_->queues.reset();
  }

  Result<void> post_receive(std::uint64_t id, Segment into) override {
    const std::lock_guard lock(state_->mutex);
    if (queues_->receives.size() == queues_->lengths.receiving) {
      return fail_sys(Errc::system, ENOMEM, "post a buffer");
    }
    if (queues_->failed) {
      queues_->complete(queues_->received, {.id = id, .fate = Completion::Fate::flushed});
    } else {
      queues_->receives.push_back({id, into});
    }
    return {};
  }

  Result<void> post(std::span<const SendRequest> requests) override {
    std::unique_lock lock(state_->mutex);
    const auto on_post = state_->faults.on_post;
    lock.unlock();
    const int sys = on_post ? on_post() : 0;
    if (sys != 0) return fail_sys(Errc::system, sys, "post a request");
    lock.lock();
    for (const SendRequest& request : requests) {
      auto fate = Completion::Fate::flushed;
      if (!queues_->failed) fate = state_->carry_out(*end_, request);
      const bool done = fate == Completion::Fate::done;
      if (!done || request.signalled == Signalled::yes) {
        queues_->complete(queues_->sent,
                          {.id = request.id, .fate = fate, .why = done ? "" : "as asked"});
      }
      if (!done) queues_->fail();
    }
    return {};
  }

  Result<std::size_t> poll(Side side, std::span<Completion> into) override {
    const std::lock_guard lock(state_->mutex);
    auto& found = of(side).found;
    const std::size_t count = std::min(into.size(), found.size());
    std::move(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(count), into.begin());
    found.erase(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(count));
    return count;
  }
  Result<void> arm(Side side) override {
    const std::lock_guard lock(state_->mutex);
    of(side).armed = true;
    return {};
  }
  int fd() const noexcept override { return queues_->fd.get(); }
  Result<void> take_events() override {
    lower(queues_->fd);
    return {};
  }
  Result<void> let_peer(PeerMay may) override {
    const std::lock_guard lock(state_->mutex);
    queues_->peer_may = may;
    return {};
  }

 private:
  Completions& of(Side side) { return side == Side::sending ? queues_->sent : queues_->received; }

  const StatePtr state_;
  const std::shared_ptr<End> end_;
  const std::shared_ptr<Queues> queues_;
};

class FabricConnection final : public Connection {
 public:
  FabricConnection(StatePtr state, std::shared_ptr<End> end)
      : state_(std::move(state)), end_(std::move(end)) {}
  ~FabricConnection() override {
    const std::lock_guard lock(state_->mutex);
    state_->hang_up(*end_);
  }

  int fd() const noexcept override { return end_->fd.get(); }
  Result<std::optional<ConnectionEvent>> next_event() override {
    const std::lock_guard lock(state_->mutex);
    if (end_->events.empty()) {
      lower(end_->fd);
      return std::nullopt;
    }
    ConnectionEvent next = std::move(end_->events.front());
    end_->events.pop_front();
    return next;
  }

  Result<void> resolve_address(const SocketAddress& to, std::chrono::milliseconds) override {
    const std::lock_guard lock(state_->mutex);
    to_ = to;
    const bool ours = host_text(to) == "127.0.0.1";
    state_->say(*end_, {.kind = ours ? ConnectionEvent::Kind::address_resolved
                                     : ConnectionEvent::Kind::no_device});
    return {};
  }
  Result<void> resolve_route(std::chrono::milliseconds) override {
    const std::lock_guard lock(state_->mutex);
    state_->say(*end_, {.kind = ConnectionEvent::Kind::route_resolved});
    return {};
  }

  std::string device() const override { return "fabric0"; }
  Result<std::unique_ptr<RdmaDomain>> make_domain() override {
    return std::make_unique<FabricDomain>(state_);
  }
  Result<std::unique_ptr<QueuePair>> make_queue_pair(RdmaDomain&, QueueLengths lengths) override {
    end_->queues = std::make_shared<Queues>();
    end_->queues->lengths = lengths;
    return std::make_unique<FabricQueuePair>(state_, end_);
  }

  Result<void> connect(std::span<const std::byte> greeting) override {
    const std::lock_guard lock(state_->mutex);
    const auto door = state_->doors.find(port_of(to_));
    if (door == state_->doors.end()) {
      state_->say(*end_, {.kind = ConnectionEvent::Kind::refused});
      return {};
    }
    auto caller = std::make_shared<End>();
    caller->greeting.assign(greeting.begin(), greeting.end());
    caller->peer = end_;
    end_->peer = caller;
    door->second->callers.push_back(std::move(caller));
    raise(door->second->fd);
    return {};
  }
  Result<void> accept(std::span<const std::byte> greeting) override {
    const std::lock_guard lock(state_->mutex);
    state_->say(*end_, {.kind = ConnectionEvent::Kind::established});
    if (const auto peer = end_->peer.lock()) {
      state_->say(*peer, {.kind = ConnectionEvent::Kind::established,
                          .greeting = {greeting.begin(), greeting.end()}});
    }
    return {};
  }
  void disconnect() noexcept override {
    const std::lock_guard lock(state_->mutex);
    state_->hang_up(*end_);
  }

  SocketAddress local() const override { return loopback(end_->port); }
  SocketAddress peer() const override { return loopback(port_of(to_)); }

 private:
  const StatePtr state_;
  const std::shared_ptr<End> end_;
  SocketAddress to_ = loopback(0);
};

class FabricListener final : public ListeningConnection {
 public:
  FabricListener(StatePtr state, std::uint16_t port, std::shared_ptr<FabricDoor> door)
      : state_(std::move(state)), port_(port), door_(std::move(door)) {}
  ~FabricListener() override {
    const std::lock_guard lock(state_->mutex);
    state_->doors.erase(port_);
  }
  int fd() const noexcept override { return door_->fd.get(); }
  std::uint16_t port() const override { return port_; }
  Result<std::optional<Caller>> next_caller() override {
    const std::lock_guard lock(state_->mutex);
    if (door_->callers.empty()) {
      lower(door_->fd);
      return std::nullopt;
    }
    auto end = std::move(door_->callers.front());
    door_->callers.pop_front();
    std::vector<std::byte> greeting = end->greeting;
    return Caller{std::make_unique<FabricConnection>(state_, std::move(end)), std::move(greeting)};
  }

 private:
  const StatePtr state_;
  const std::uint16_t port_;
  const std::shared_ptr<FabricDoor> door_;
};

class FabricVerbs final : public Verbs {
 public:
  explicit FabricVerbs(StatePtr state) : state_(std::move(state)) {}
  Result<std::unique_ptr<Connection>> make_connection() override {
    return std::make_unique<FabricConnection>(state_, std::make_shared<End>());
  }
  Result<std::unique_ptr<ListeningConnection>> listen(const SocketAddress& at) override {
    const std::lock_guard lock(state_->mutex);
    const std::uint16_t port = port_of(at) == 0 ? state_->next_port++ : port_of(at);
    auto& door = state_->doors[port];
    if (door) return fail_sys(Errc::unreachable, EADDRINUSE, "bind");
    door = std::make_shared<FabricDoor>();
    return std::make_unique<FabricListener>(state_, port, door);
  }
  std::vector<SocketAddress> own_addresses() override { return {loopback(0)}; }

 private:
  const StatePtr state_;
};

}  // namespace

Fabric::Fabric() : state_(std::make_shared<State>()) {}
Fabric::~Fabric() = default;

std::shared_ptr<Verbs> Fabric::verbs() { return std::make_shared<FabricVerbs>(state_); }

void Fabric::set_faults(Faults faults) {
  const std::lock_guard lock(state_->mutex);
  state_->faults = std::move(faults);
}

std::uint64_t Fabric::registered_bytes() {
  const std::lock_guard lock(state_->mutex);
  std::uint64_t sum = 0;
  for (const auto& [key, one] : state_->registered) sum += one.memory.size();
  return sum;
}

std::uint64_t Fabric::bytes_for_peers() {
  const std::lock_guard lock(state_->mutex);
  std::uint64_t sum = 0;
  for (const auto& [key, one] : state_->registered) {
    if (one.may == DeviceMay::let_peers_write) sum += one.memory.size();
  }
  return sum;
}

}  // namespace ferry::test
