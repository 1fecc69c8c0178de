// TLS records that the kernel makes.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "channels/inner_line.h"
#include "ferry/channel.h"
#include "ferry/result.h"

namespace ferry {

/// Of the records that a key may protect: what is kept for the end of a line whose key stays the
/// same, when another line is to take its place.
constexpr std::uint64_t spare_records(std::uint64_t records) noexcept { return records / 8; }

/// The sending half of a TLS line whose keys the kernel has: what is written to the socket goes out
/// encrypted, in records of 16 KiB. Used by the writing thread.
///
/// No key can be replaced there (Linux learned it in 6.14, OpenSSL 3.0 not at all): what a key may
/// protect is all that such a line sends, and then it fails.
class KernelTls {
 public:
  /// Can the kernel take over a line over `socket`? Over TCP it may; MPTCP and others it does not.
  static bool may_serve(int socket) noexcept;
  /// What to tell people where it was asked for and did not.
  static std::string shortfall();

  /// `inner` is over a socket, and outlives this; `records` is what its key protects.
  KernelTls(const InnerLine& inner, std::uint64_t records) noexcept
      : inner_(inner), spare_(spare_records(records)), records_left_(records) {}

  /// Has its key protected nearly all that it may? The writing thread's to ask.
  bool worn() const noexcept { return records_left_ <= spare_; }

  Result<void> write(std::span<const iovec> from);
  Result<Pollable::Step> try_write_some(std::span<const iovec> from);
  /// TLS's close_notify. Blocks as a write does.
  Result<void> say_goodbye();

 private:
  void count(std::size_t bytes) noexcept;

  const InnerLine& inner_;
  const std::uint64_t spare_;
  std::uint64_t records_left_;
};

/// The failure of a line whose key may protect no more, and cannot be replaced.
Error key_used_up();

/// While it lives this thread gets no SIGPIPE, and none is left behind; the process's own way with
/// signals stays what it is. For the system calls of others, which do not know MSG_NOSIGNAL.
class WithoutSigpipe {
 public:
  WithoutSigpipe() noexcept;
  ~WithoutSigpipe();
  WithoutSigpipe(const WithoutSigpipe&) = delete;
  WithoutSigpipe& operator=(const WithoutSigpipe&) = delete;

 private:
  bool was_pending_ = false;
  bool was_blocked_ = false;
};

}  // namespace ferry
