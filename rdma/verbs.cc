#include "rdma/verbs.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <rdma/rdma_cma.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "rdma/verbs_queue_pair.h"

namespace ferry {
namespace {

// 4.096 us * 2^17: half a second until the device sends again what was not acknowledged. The
// connection manager's own choice is a second and more, and it is what a lost last packet costs.
constexpr std::uint8_t k_ack_timeout = 17;
constexpr std::uint8_t k_retries = 7;  // the most that there are, and as many for a peer not ready:
constexpr std::uint8_t k_not_ready_retries = 6;  // there 7 would be for ever
constexpr int k_backlog = 1024;                  // 255 lanes at once, and strangers

Result<void> make_nonblocking(int fd, const char* what) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0 && ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0) return {};
  return fail_sys(Errc::system, errno, std::string("make ") + what + " non-blocking");
}

struct FreeEventChannel {
  void operator()(rdma_event_channel* channel) const noexcept {
    ::rdma_destroy_event_channel(channel);
  }
};
using EventChannel = std::unique_ptr<rdma_event_channel, FreeEventChannel>;

struct FreeId {
  void operator()(rdma_cm_id* id) const noexcept { ::rdma_destroy_id(id); }
};
using Id = std::unique_ptr<rdma_cm_id, FreeId>;

Result<EventChannel> make_event_channel() {
  EventChannel channel(::rdma_create_event_channel());
  if (!channel) {
    return fail_sys(Errc::unreachable, errno, "ask the RDMA connection manager",
                    "is there an RDMA device, and is rdma_ucm loaded? rdma link shows devices");
  }
  FERRY_TRY(make_nonblocking(channel->fd, "the events of a connection"));
  return channel;
}

Result<Id> make_id(rdma_event_channel* channel) {
  rdma_cm_id* id = nullptr;
  if (::rdma_create_id(channel, &id, nullptr, RDMA_PS_TCP) != 0) {
    return fail_sys(Errc::system, errno, "make an RDMA connection");
  }
  return Id(id);
}

sockaddr* as_given(const SocketAddress& address) noexcept {
  return const_cast<sockaddr*>(address.get());  // librdmacm only reads it
}

SocketAddress value_of(const sockaddr* from) noexcept {
  SocketAddress address;
  if (from->sa_family == AF_INET) address.length = sizeof(sockaddr_in);
  if (from->sa_family == AF_INET6) address.length = sizeof(sockaddr_in6);
  std::memcpy(&address.storage, from, address.length);
  return address;
}

ConnectionEvent::Kind kind_of(const rdma_cm_event& event) noexcept {
  using enum ConnectionEvent::Kind;
  switch (event.event) {
    case RDMA_CM_EVENT_ADDR_RESOLVED:
      return address_resolved;
    case RDMA_CM_EVENT_ADDR_ERROR:
      return event.status == -ENODEV ? no_device : unreachable;
    case RDMA_CM_EVENT_ROUTE_RESOLVED:
      return route_resolved;
    case RDMA_CM_EVENT_ESTABLISHED:
      return established;
    case RDMA_CM_EVENT_DISCONNECTED:
      return disconnected;
    case RDMA_CM_EVENT_REJECTED:
      return refused;
    case RDMA_CM_EVENT_ROUTE_ERROR:
    case RDMA_CM_EVENT_CONNECT_ERROR:
    case RDMA_CM_EVENT_UNREACHABLE:
      return unreachable;
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
      return device_removed;
    default:
      return irrelevant;
  }
}

/// Where it has none, or would not be private data, empty.
std::vector<std::byte> greeting_of(const rdma_cm_event& event) {
  if (event.event != RDMA_CM_EVENT_CONNECT_REQUEST && event.event != RDMA_CM_EVENT_ESTABLISHED) {
    return {};
  }
  const auto* data = static_cast<const std::byte*>(event.param.conn.private_data);
  if (data == nullptr) return {};
  return {data, data + event.param.conn.private_data_len};
}

/// An event, acknowledged when it goes: until then its connection cannot be destroyed.
struct Acknowledge {
  void operator()(rdma_cm_event* event) const noexcept { ::rdma_ack_cm_event(event); }
};
using Event = std::unique_ptr<rdma_cm_event, Acknowledge>;

Result<Event> next_of(rdma_event_channel* channel) {
  rdma_cm_event* event = nullptr;
  if (::rdma_get_cm_event(channel, &event) == 0) return Event(event);
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return Event();
  return fail_sys(Errc::system, errno, "hear of an RDMA connection");
}

class CmConnection final : public Connection {
 public:
  CmConnection(EventChannel channel, Id id) : channel_(std::move(channel)), id_(std::move(id)) {
    std::uint8_t timeout = k_ack_timeout;
    // A kernel that does not know it has its own choice.
    (void)::rdma_set_option(id_.get(), RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &timeout,
                            sizeof timeout);
  }

  int fd() const noexcept override { return channel_->fd; }

  Result<std::optional<ConnectionEvent>> next_event() override {
    const Event event = FERRY_TRY(next_of(channel_.get()));
    if (!event) return std::nullopt;
    ConnectionEvent said{.kind = kind_of(*event), .greeting = greeting_of(*event)};
    if (event->status < 0) said.sys = -event->status;
    return said;
  }

  Result<void> resolve_address(const SocketAddress& to, std::chrono::milliseconds most) override {
    const auto milliseconds = static_cast<int>(most.count());
    if (::rdma_resolve_addr(id_.get(), nullptr, as_given(to), milliseconds) == 0) return {};
    return fail_sys(Errc::unreachable, errno, "look for an RDMA device");
  }

  Result<void> resolve_route(std::chrono::milliseconds most) override {
    if (::rdma_resolve_route(id_.get(), static_cast<int>(most.count())) == 0) return {};
    return fail_sys(Errc::unreachable, errno, "look for a way");
  }

  std::string device() const override {
    return id_->verbs == nullptr ? "" : ::ibv_get_device_name(id_->verbs->device);
  }
  Result<std::unique_ptr<RdmaDomain>> make_domain() override {
    return make_verbs_domain(id_->verbs);
  }
  Result<std::unique_ptr<QueuePair>> make_queue_pair(RdmaDomain& domain,
                                                     QueueLengths lengths) override {
    return make_verbs_queue_pair(id_.get(), domain, lengths);
  }

  Result<void> connect(std::span<const std::byte> greeting) override {
    rdma_conn_param param = params(greeting);
    if (::rdma_connect(id_.get(), &param) == 0) return {};
    return fail_sys(Errc::unreachable, errno, "ask the peer");
  }
  Result<void> accept(std::span<const std::byte> greeting) override {
    rdma_conn_param param = params(greeting);
    if (::rdma_accept(id_.get(), &param) == 0) return {};
    return fail_sys(Errc::disconnected, errno, "answer the peer");
  }
  void disconnect() noexcept override { (void)::rdma_disconnect(id_.get()); }

  SocketAddress local() const override { return value_of(::rdma_get_local_addr(id_.get())); }
  SocketAddress peer() const override { return value_of(::rdma_get_peer_addr(id_.get())); }

 private:
  static rdma_conn_param params(std::span<const std::byte> greeting) noexcept {
    rdma_conn_param param{};
    param.private_data = greeting.data();
    param.private_data_len = static_cast<std::uint8_t>(greeting.size());
    param.retry_count = k_retries;
    param.rnr_retry_count = k_not_ready_retries;
    return param;
  }

  EventChannel channel_;
  Id id_;  // goes first
};

class CmListener final : public ListeningConnection {
 public:
  CmListener(EventChannel channel, Id id) : channel_(std::move(channel)), id_(std::move(id)) {}

  int fd() const noexcept override { return channel_->fd; }
  std::uint16_t port() const override { return ntohs(::rdma_get_src_port(id_.get())); }

  Result<std::optional<Caller>> next_caller() override {
    Id caller;
    std::vector<std::byte> greeting;
    {
      const Event event = FERRY_TRY(next_of(channel_.get()));
      if (!event || event->event != RDMA_CM_EVENT_CONNECT_REQUEST) return std::nullopt;
      caller.reset(event->id);
      greeting = greeting_of(*event);
    }  // acknowledged: to move it to events of its own would wait for that
    // A caller that there are no descriptors for is turned away; the door stays open.
    auto own = make_event_channel();
    if (!own || ::rdma_migrate_id(caller.get(), own->get()) != 0) return std::nullopt;
    return Caller{std::make_unique<CmConnection>(*std::move(own), std::move(caller)),
                  std::move(greeting)};
  }

 private:
  EventChannel channel_;
  Id id_;  // goes first
};

class RdmaCore final : public Verbs {
 public:
  Result<std::unique_ptr<Connection>> make_connection() override {
    EventChannel channel = FERRY_TRY(make_event_channel());
    Id id = FERRY_TRY(make_id(channel.get()));
    return std::make_unique<CmConnection>(std::move(channel), std::move(id));
  }

  Result<std::unique_ptr<ListeningConnection>> listen(const SocketAddress& at) override {
    EventChannel channel = FERRY_TRY(make_event_channel());
    Id id = FERRY_TRY(make_id(channel.get()));
    // The connection manager lends it a device to listen with, but nobody connects there.
    if (is_loopback(at)) return fail_sys(Errc::unreachable, ENODEV, "bind");
    if (::rdma_bind_addr(id.get(), as_given(at)) != 0 || ::rdma_listen(id.get(), k_backlog) != 0) {
      return fail_sys(Errc::unreachable, errno, "bind");
    }
    return std::make_unique<CmListener>(std::move(channel), std::move(id));
  }

  std::vector<SocketAddress> own_addresses() override {
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) return {};
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, ::freeifaddrs);
    std::vector<SocketAddress> served;
    for (const int family : {AF_INET, AF_INET6}) {
      for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
        if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != family) continue;
        if ((one->ifa_flags & IFF_LOOPBACK) != 0) continue;
        const SocketAddress address = value_of(one->ifa_addr);
        if (is_served(address)) served.push_back(address);
      }
    }
    return served;
  }

 private:
  /// To bind to an address finds its device.
  static bool is_served(const SocketAddress& address) {
    const auto channel = make_event_channel();
    if (!channel) return false;
    const auto id = make_id(channel->get());
    return id && ::rdma_bind_addr(id->get(), as_given(address)) == 0 && (*id)->verbs != nullptr;
  }
};

}  // namespace

std::unique_ptr<Verbs> make_verbs() { return std::make_unique<RdmaCore>(); }

}  // namespace ferry
