#include "bench/bare_limit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string_view>
#include <thread>

#include "bench/data.h"

namespace ferry::bench {
namespace {

constexpr std::uint64_t k_piece = k_mib;
constexpr std::string_view k_upgrade = "upgrade:";  // in front of a port

/// What connect and bind take.
struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  sockaddr* any() { return reinterpret_cast<sockaddr*>(&storage); }
};

Address abstract(std::string_view name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path + 1, sizeof address.sun_path - 1);
  Address result;
  std::memcpy(&result.storage, &address, sizeof address);
  result.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return result;
}

Address loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  Address result;
  std::memcpy(&result.storage, &address, sizeof address);
  result.length = sizeof address;
  return result;
}

Address parsed(const std::string& text) {
  if (text.starts_with('@')) return abstract(std::string_view(text).substr(1));
  const char* const port = text.c_str() + (text.starts_with(k_upgrade) ? k_upgrade.size() : 0);
  return loopback(static_cast<std::uint16_t>(std::strtoul(port, nullptr, 10)));
}

// What a WebSocket's beginning looks like to a proxy, which does not look at the keys.
constexpr std::string_view k_request =
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
constexpr std::string_view k_answer =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

Result<void> send_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0) return fail_sys(Errc::disconnected, errno, "send");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

/// Reads up to the empty line, and not a byte of what follows.
Result<void> skip_head(int fd) {
  std::string head;
  while (!head.ends_with("\r\n\r\n")) {
    char next = 0;
    if (::recv(fd, &next, 1, 0) != 1) return fail_sys(Errc::disconnected, errno, "recv a head");
    head += next;
  }
  return {};
}

Result<UniqueFd> connect_to(const std::string& text) {
  Address address = parsed(text);
  UniqueFd fd(::socket(address.any()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_sys(Errc::system, errno, "make a socket");
  if (::connect(fd.get(), address.any(), address.length) != 0) {
    return fail_sys(Errc::unreachable, errno, fmt::format("connect to {}", text));
  }
  if (text.starts_with(k_upgrade)) {
    FERRY_TRY(send_all(fd.get(), std::as_bytes(std::span(k_request))));
    FERRY_TRY(skip_head(fd.get()));
  }
  return fd;
}

/// Runs `lane(index)` for each connection in a thread of its own. The first failure is returned.
Result<void> in_threads(unsigned lanes, const std::function<Result<void>(unsigned)>& lane) {
  std::vector<Result<void>> results(lanes);
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < lanes; ++i) {
      threads.emplace_back([&results, &lane, i] { results[i] = lane(i); });
    }
  }
  for (Result<void>& result : results) FERRY_TRY(std::move(result));
  return {};
}

/// Calls `piece(offset, length)` for each piece of one lane, until one fails.
Result<void> pieces_of(unsigned lane, unsigned lanes, std::uint64_t bytes,
                       const std::function<Result<void>(std::uint64_t, std::uint64_t)>& piece) {
  for (std::uint64_t offset = lane * k_piece; offset < bytes; offset += lanes * k_piece) {
    FERRY_TRY(piece(offset, std::min(k_piece, bytes - offset)));
  }
  return {};
}

Result<void> receive_all(int fd, std::span<std::byte> into) {
  const ssize_t n = ::recv(fd, into.data(), into.size(), MSG_WAITALL);
  if (n < 0) return fail_sys(Errc::disconnected, errno, "recv");
  if (static_cast<std::size_t>(n) != into.size()) return fail(Errc::disconnected, "recv: cut");
  return {};
}

Result<void> write_all(int fd, std::span<const std::byte> bytes, std::uint64_t offset) {
  const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
  if (n < 0) return fail_sys(Errc::system, errno, "pwrite");
  if (static_cast<std::size_t>(n) != bytes.size()) return fail(Errc::system, "pwrite: cut short");
  return {};
}

}  // namespace

Result<void> bare_send(std::span<const std::byte> memory, const std::string& address,
                       unsigned channels) {
  // One after the other: the listener knows a connection's number by its order.
  std::vector<UniqueFd> sockets;
  for (unsigned i = 0; i < channels; ++i) sockets.push_back(FERRY_TRY(connect_to(address)));
  return in_threads(channels, [&](unsigned lane) {
    return pieces_of(lane, channels, memory.size(),
                     [&](std::uint64_t offset, std::uint64_t length) {
                       return send_all(sockets[lane].get(), memory.subspan(offset, length));
                     });
  });
}

Result<void> bare_send_file(const std::string& path, const std::string& address,
                            unsigned channels) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) != 0) {
    return fail_sys(Errc::system, errno, fmt::format("open {}", path));
  }
  const Mapping image =
      FERRY_TRY(Mapping::of_file(fd.get(), static_cast<std::uint64_t>(status.st_size)));
  return bare_send(image.bytes(), address, channels);
}

Result<BareListener> BareListener::create(BareLine line) {
  const std::string name = fmt::format("ferry-bare-{}", ::getpid());
  Address address = line == BareLine::unix ? abstract(name) : loopback(0);
  UniqueFd fd(::socket(address.any()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_sys(Errc::system, errno, "make a socket");
  if (::bind(fd.get(), address.any(), address.length) != 0 || ::listen(fd.get(), 256) != 0 ||
      ::getsockname(fd.get(), address.any(), &address.length) != 0) {
    return fail_sys(Errc::unreachable, errno, "listen");
  }
  if (line == BareLine::unix) return BareListener(std::move(fd), line, "@" + name);
  sockaddr_in bound{};
  std::memcpy(&bound, &address.storage, sizeof bound);
  const std::string port = std::to_string(ntohs(bound.sin_port));
  const std::string prefix(line == BareLine::upgraded ? k_upgrade : "");
  return BareListener(std::move(fd), line, prefix + port);
}

Result<std::vector<UniqueFd>> BareListener::accept(unsigned channels) {
  std::vector<UniqueFd> sockets;
  while (sockets.size() < channels) {
    sockets.emplace_back(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!sockets.back()) return fail_sys(Errc::unreachable, errno, "accept");
    if (line_ == BareLine::upgraded) {
      FERRY_TRY(skip_head(sockets.back().get()));
      FERRY_TRY(send_all(sockets.back().get(), std::as_bytes(std::span(k_answer))));
    }
  }
  return sockets;
}

Result<void> BareListener::receive(std::span<std::byte> memory, unsigned channels) {
  const std::vector<UniqueFd> sockets = FERRY_TRY(accept(channels));
  return in_threads(channels, [&](unsigned lane) {
    return pieces_of(lane, channels, memory.size(),
                     [&](std::uint64_t offset, std::uint64_t length) {
                       return receive_all(sockets[lane].get(), memory.subspan(offset, length));
                     });
  });
}

Result<void> BareListener::receive_file(const std::string& path, std::uint64_t bytes,
                                        unsigned channels) {
  const std::string unfinished = path + ".bare";
  const UniqueFd fd(::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return fail_sys(Errc::system, errno, fmt::format("make {}", unfinished));
  }
  const std::vector<UniqueFd> sockets = FERRY_TRY(accept(channels));
  FERRY_TRY(in_threads(channels, [&](unsigned lane) {
    std::vector<std::byte> buffer(k_piece);
    return pieces_of(lane, channels, bytes,
                     [&](std::uint64_t offset, std::uint64_t length) -> Result<void> {
                       const std::span piece = std::span(buffer).first(length);
                       FERRY_TRY(receive_all(sockets[lane].get(), piece));
                       return write_all(fd.get(), piece, offset);
                     });
  }));
  if (::fsync(fd.get()) != 0) return fail_sys(Errc::system, errno, fmt::format("sync {}", path));
  if (std::rename(unfinished.c_str(), path.c_str()) != 0) {
    return fail_sys(Errc::system, errno, fmt::format("rename to {}", path));
  }
  return {};
}

std::uint64_t plain_read(std::span<const std::byte> memory, unsigned threads) {
  const std::size_t words = memory.size() / sizeof(std::uint64_t);
  std::vector<std::uint64_t> seen(threads);
  {
    std::vector<std::jthread> readers;
    for (unsigned i = 0; i < threads; ++i) {
      readers.emplace_back([&, i] {
        const auto* const data = reinterpret_cast<const std::uint64_t*>(memory.data());
        std::uint64_t any = 0;
        for (std::size_t w = words * i / threads; w < words * (i + 1) / threads; ++w)
          any |= data[w];
        seen[i] = any;
      });
    }
  }
  std::uint64_t any = 0;
  for (const std::uint64_t one : seen) any |= one;
  return any;
}

}  // namespace ferry::bench
