#include "channels/kernel_tls.h"

#include <linux/tls.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <ctime>

#include "base/iovec_window.h"
#include "channels/line_failure.h"
#include "channels/tls_engine.h"

namespace ferry {
namespace {

sigset_t only_sigpipe() noexcept {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGPIPE);
  return set;
}

bool is_pending(int signal) noexcept {
  sigset_t pending;
  return ::sigpending(&pending) == 0 && ::sigismember(&pending, signal) == 1;
}

}  // namespace

bool KernelTls::may_serve(int socket) noexcept {
  int protocol = 0;
  socklen_t length = sizeof protocol;
  return ::getsockopt(socket, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) == 0 &&
         protocol == IPPROTO_TCP;
}

std::string KernelTls::shortfall() {
  return "this machine has no kernel TLS for this line, Ferry itself encrypts it (modprobe tls?)";
}

/// Of one call, rather too many: its last record may be short, and one more where it had to wait.
void KernelTls::count(std::size_t bytes) noexcept {
  records_left_ -= std::min<std::uint64_t>(records_left_, bytes / TlsEngine::k_plain_bytes + 2);
}

Result<void> KernelTls::write(std::span<const iovec> from) {
  const std::size_t bytes = total_bytes(from);
  if (records_left_ <= bytes / TlsEngine::k_plain_bytes) return std::unexpected(key_used_up());
  count(bytes);
  return inner_->write(from);
}

Result<Pollable::Step> KernelTls::try_write_some(std::span<const iovec> from) {
  if (records_left_ <= total_bytes(from) / TlsEngine::k_plain_bytes)
    return std::unexpected(key_used_up());
  const Pollable::Step step = FERRY_TRY(inner_.pollable()->try_write_some(from));
  if (step.bytes > 0) count(step.bytes);
  return step;
}

Result<void> KernelTls::say_goodbye() {
  constexpr unsigned char k_alert = 21;                // the type of the record
  std::array<unsigned char, 2> close_notify = {1, 0};  // a warning: the end
  iovec piece{close_notify.data(), close_notify.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(1)> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const type = CMSG_FIRSTHDR(&message);
  type->cmsg_level = SOL_TLS;
  type->cmsg_type = TLS_SET_RECORD_TYPE;
  type->cmsg_len = CMSG_LEN(1);
  *CMSG_DATA(type) = k_alert;
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(inner_.pollable()->fd(), &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return std::unexpected(line_failure(errno, "say TLS's goodbye"));
  return {};
}

Error key_used_up() {
  return {Errc::unsupported, 0, "its TLS key has protected as much as it may, and stays the same",
          "more --channels share the data; TLS 1.3 without --ktls replaces its keys"};
}

WithoutSigpipe::WithoutSigpipe() noexcept : was_pending_(is_pending(SIGPIPE)) {
  const sigset_t set = only_sigpipe();
  sigset_t before;
  ::pthread_sigmask(SIG_BLOCK, &set, &before);
  was_blocked_ = ::sigismember(&before, SIGPIPE) == 1;
}

WithoutSigpipe::~WithoutSigpipe() {
  const sigset_t set = only_sigpipe();
  // One that was there before is somebody else's. Ours is this thread's own, and waits for it.
  if (!was_pending_ && is_pending(SIGPIPE)) {
    const std::timespec at_once{};
    while (::sigtimedwait(&set, nullptr, &at_once) < 0 && errno == EINTR) {
    }
  }
  if (!was_blocked_) ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

}  // namespace ferry
