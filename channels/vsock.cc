#include "channels/vsock.h"

#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/refuse_options.h"
#include "channels/listening_sockets.h"
#include "channels/socket_channel.h"
#include "channels/socket_connect.h"
#include "ferry/event_loop.h"
#include "loop/socket_address.h"

namespace ferry {
namespace {

// The kernel's own choice of a free port has 32 bits, and a URI's has 16.
constexpr std::uint16_t k_first_free_port = 49152;
constexpr std::uint16_t k_last_free_port = 65535;

SocketAddress vsock_address(std::uint32_t cid, std::uint16_t port) noexcept {
  sockaddr_vm vm{};
  vm.svm_family = AF_VSOCK;
  vm.svm_cid = cid;
  vm.svm_port = port;
  SocketAddress address;
  std::memcpy(&address.storage, &vm, sizeof vm);
  address.length = sizeof vm;
  return address;
}

/// Errc::usage where it is no number: Uri::parse() lets none pass, but a Uri need not be parsed.
Result<std::uint32_t> cid_of(const Uri& uri, const std::string& act) {
  std::uint32_t cid = 0;
  const char* end = uri.host.data() + uri.host.size();
  const auto read = std::from_chars(uri.host.data(), end, cid);
  if (read.ec == std::errc{} && read.ptr == end) return cid;
  return fail(Errc::usage, act + ": a vsock address is a number (cid)");
}

/// What this machine is called by the other side: 2 on a host, a guest's own number in a guest.
std::uint32_t own_cid() noexcept {
  const UniqueFd device(::open("/dev/vsock", O_RDONLY | O_CLOEXEC));
  std::uint32_t cid = VMADDR_CID_ANY;
  if (!device || ::ioctl(device.get(), IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) != 0 ||
      cid == VMADDR_CID_ANY) {
    return VMADDR_CID_LOCAL;
  }
  return cid;
}

std::string text_of(const SocketAddress& address) {
  if (address.family() != AF_VSOCK) return "an unknown vsock peer";
  sockaddr_vm vm;
  std::memcpy(&vm, &address.storage, sizeof vm);
  // Not through a Uri: the port that a peer got from its kernel may be any number of 32 bits.
  return "vsock://" + std::to_string(vm.svm_cid) + ":" + std::to_string(vm.svm_port);
}

std::string bind_remedy_for(int sys) {
  switch (sys) {
    case EADDRINUSE:
      return "is another migrate-recv running?";
    case EADDRNOTAVAIL:
      return "this machine has another cid; leave it out to listen for all";
    case EACCES:
      return "ports below 1024 are for root";
    default:
      return {};
  }
}

/// 0, or why not.
int try_to_bind(int socket, std::uint32_t cid, std::uint16_t port) noexcept {
  const SocketAddress address = vsock_address(cid, port);
  return ::bind(socket, address.get(), address.length) == 0 ? 0 : errno;
}

/// Binds to `port`, or to the first free one where it is 0. The port that it became.
Result<std::uint16_t> bind_to(int socket, std::uint32_t cid, std::uint16_t port,
                              const std::string& act) {
  std::uint16_t trying = port != 0 ? port : k_first_free_port;
  int sys = try_to_bind(socket, cid, trying);
  while (sys == EADDRINUSE && port == 0 && trying < k_last_free_port) {
    sys = try_to_bind(socket, cid, ++trying);
  }
  if (sys == 0) return trying;
  return fail_sys(Errc::unreachable, sys, act, bind_remedy_for(sys));
}

std::unique_ptr<Channel> channel_over(UniqueFd fd, std::string peer) {
  ChannelInfo info{
      .scheme = "vsock", .local = text_of(local_address(fd.get())), .peer = std::move(peer)};
  return std::make_unique<SocketChannel>(std::move(fd), std::move(info));
}

class VsockListener final : public Listener {
 public:
  VsockListener(EventLoop& loop, std::vector<UniqueFd> socket, Uri at)
      : loop_(loop), sockets_(std::move(socket)), local_(std::move(at)) {}

  Task<std::unique_ptr<Channel>> accept() override {
    std::string act = "accept on " + local_.shown();
    UniqueFd fd = co_await sockets_.accept(loop_, std::move(act));
    std::string peer = text_of(peer_address(fd.get()));
    co_return channel_over(std::move(fd), std::move(peer));
  }

  Uri local() const override { return local_; }

 private:
  EventLoop& loop_;
  ListeningSockets sockets_;
  Uri local_;
};

Task<std::unique_ptr<Channel>> connect_vsock(EventLoop& loop, Uri to) {
  std::string act = "connect " + to.shown();
  co_await refuse_options(to, act);
  if (to.host.empty()) co_return fail(Errc::usage, act + ": no cid is named");
  if (to.port == 0) co_return fail(Errc::usage, act + ": port 0 is for listeners");
  const std::uint32_t cid = co_await cid_of(to, act);
  UniqueFd fresh = co_await open_stream_socket(AF_VSOCK, act);
  const SocketAddress address = vsock_address(cid, to.port);
  UniqueFd fd = co_await connect_socket(loop, std::move(fresh), address, std::move(act));
  co_return channel_over(std::move(fd), to.shown());
}

Task<std::unique_ptr<Listener>> listen_vsock(EventLoop& loop, Uri at) {
  std::string act = "listen on " + at.shown();
  co_await refuse_options(at, act);
  std::uint32_t cid = VMADDR_CID_ANY;
  if (!at.host.empty()) cid = co_await cid_of(at, act);
  UniqueFd fd = co_await open_stream_socket(AF_VSOCK, act);
  at.port = co_await bind_to(fd.get(), cid, at.port, act);
  if (::listen(fd.get(), ListeningSockets::k_backlog) != 0)
    co_return fail_sys(Errc::unreachable, errno, act);
  if (cid == VMADDR_CID_ANY) at.host = std::to_string(own_cid());
  std::vector<UniqueFd> socket;
  socket.push_back(std::move(fd));
  co_return std::make_unique<VsockListener>(loop, std::move(socket), std::move(at));
}

class VsockTransport final : public Transport {
 public:
  std::string_view scheme() const noexcept override { return "vsock"; }
  Task<std::unique_ptr<Channel>> connect(EventLoop& loop, Uri to) override {
    return connect_vsock(loop, std::move(to));
  }
  Task<std::unique_ptr<Listener>> listen(EventLoop& loop, Uri at) override {
    return listen_vsock(loop, std::move(at));
  }
};

}  // namespace

std::unique_ptr<Transport> make_vsock_transport() { return std::make_unique<VsockTransport>(); }

}  // namespace ferry
