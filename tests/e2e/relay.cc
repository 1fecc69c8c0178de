#include "tests/e2e/relay.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>

namespace ferry {
namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

UniqueFd new_socket() { return UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

UniqueFd listen_on_loopback() {
  UniqueFd listener = new_socket();
  const sockaddr_in address = loopback(0);
  EXPECT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(::listen(listener.get(), 300), 0);
  return listener;
}

std::uint16_t port_of(const UniqueFd& socket) {
  sockaddr_in address{};
  ::socklen_t length = sizeof address;
  EXPECT_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  return ntohs(address.sin_port);
}

bool send_all(const UniqueFd& to, const char* bytes, std::size_t count) {
  while (count > 0) {
    const ::ssize_t sent = ::send(to.get(), bytes, count, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes += sent;
    count -= static_cast<std::size_t>(sent);
  }
  return true;
}

}  // namespace

UniqueFd connect_to(std::uint16_t port) {
  UniqueFd socket = new_socket();
  const sockaddr_in address = loopback(port);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    socket.reset();
  }
  return socket;
}

DeafListener::DeafListener() : socket(listen_on_loopback()), port(port_of(socket)) {}

HoldingRelay::HoldingRelay(std::uint16_t port, std::uint64_t bytes)
    : target_(port),
      limit_(bytes),
      listener_(listen_on_loopback()),
      released_(::eventfd(0, EFD_CLOEXEC)),
      accepting_([this] { accept_all(); }) {}

HoldingRelay::~HoldingRelay() {
  release();
  ::shutdown(listener_.get(), SHUT_RDWR);
  accepting_.join();
  for (Connection& connection : connections_) {
    ::shutdown(connection.client.get(), SHUT_RDWR);
    ::shutdown(connection.server.get(), SHUT_RDWR);
    connection.up.join();
    connection.down.join();
  }
}

std::string HoldingRelay::uri() const {
  return "tcp://127.0.0.1:" + std::to_string(port_of(listener_));
}

bool HoldingRelay::wait_until_held() {
  std::unique_lock lock(mutex_);
  return change_.wait_for(lock, std::chrono::seconds(50), [this] { return held_; });
}

void HoldingRelay::release() {
  const std::uint64_t one = 1;
  EXPECT_EQ(::write(released_.get(), &one, sizeof one), static_cast<::ssize_t>(sizeof one));
}

void HoldingRelay::accept_all() {
  for (;;) {
    UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client) return;
    UniqueFd server = connect_to(target_);
    if (!server) continue;
    Connection& connection = connections_.emplace_back();
    connection.client = std::move(client);
    connection.server = std::move(server);
    connection.up = std::thread(
        [this, &connection] { pass(connection, connection.client, connection.server, limit_); });
    connection.down = std::thread([this, &connection] {
      pass(connection, connection.server, connection.client, UINT64_MAX);
    });
  }
}

void HoldingRelay::pass(Connection& connection, const UniqueFd& from, const UniqueFd& to,
                        std::uint64_t limit) {
  std::array<char, 65536> piece;
  std::uint64_t passed = 0;
  for (;;) {
    if (passed >= limit) hold(connection);
    const ::ssize_t got = ::recv(from.get(), piece.data(), piece.size(), 0);
    if (got == 0) {
      ::shutdown(to.get(), SHUT_WR);
      return;
    }
    if (got < 0 || !send_all(to, piece.data(), static_cast<std::size_t>(got))) break;
    passed += static_cast<std::uint64_t>(got);
  }
  ::shutdown(from.get(), SHUT_RDWR);
  ::shutdown(to.get(), SHUT_RDWR);
}

/// Returns when released, or when either end has closed.
void HoldingRelay::hold(const Connection& connection) {
  {
    const std::scoped_lock lock(mutex_);
    held_ = true;
  }
  change_.notify_all();
  std::array<pollfd, 3> wanted = {
      {{.fd = released_.get(), .events = POLLIN, .revents = 0},
       {.fd = connection.client.get(), .events = POLLRDHUP, .revents = 0},
       {.fd = connection.server.get(), .events = POLLRDHUP, .revents = 0}}};
  ::poll(wanted.data(), wanted.size(), -1);
}

}  // namespace ferry
