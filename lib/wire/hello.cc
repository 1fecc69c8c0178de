#include "wire/hello.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/escape.h"
#include "wire/framing.h"

namespace ferry::wire {
namespace {

/// Extensions fill what is left of the message. `take` is given each, and says whether it knows it.
template <class Take>
Result<void> read_extensions(ByteReader& in, const MessageForm& form, Take take) {
  while (in.remaining() > 0) {
    const std::uint16_t type = in.u16();
    const std::span<const std::byte> value = in.bytes(in.u16());
    if (in.ok() && FERRY_TRY(take(type, value))) continue;
    if (in.ok() && (type & k_critical_extension) != 0) {
      return fail(Errc::unsupported,
                  fmt::format("decode {}: unknown extension {:#06x}", form.name, type));
    }
  }
  return close_message(in, form);
}

Result<bool> know_none(std::uint16_t, std::span<const std::byte>) { return false; }

Result<bool> take_secret(HelloAck& ack, std::uint16_t type, std::span<const std::byte> value) {
  if (type != k_secret_extension) return false;
  Secret secret;
  if (value.size() != secret.size() || ack.secret) {
    return fail(Errc::protocol, "decode hello-ack: a secret that is none");
  }
  std::ranges::copy(value, secret.begin());
  ack.secret = secret;
  return true;
}

}  // namespace

std::vector<std::byte> encode(const Hello& hello) {
  std::vector<std::byte> message;
  MessageWriter out(message, k_hello_form);
  out.u16(hello.version_min);
  out.u16(hello.version_max);
  out.bytes(hello.session);
  out.u16(static_cast<std::uint16_t>(hello.role));
  out.u16(hello.index);
  out.u32(hello.path_id);
  out.u32(hello.critical_features);
  out.u32(hello.optional_features);
  out.bytes(hello.proof);
  out.seal();
  return message;
}

std::vector<std::byte> encode(const HelloAck& ack) {
  std::vector<std::byte> message;
  MessageWriter out(message, k_hello_ack_form);
  out.u16(static_cast<std::uint16_t>(ack.verdict));
  out.u16(ack.version);
  out.bytes(ack.session);
  out.u32(ack.critical_features);
  out.u32(ack.optional_features);
  out.string(cut_text(ack.reason, k_max_text_bytes));
  if (ack.secret) {
    out.u16(k_secret_extension);
    out.u16(static_cast<std::uint16_t>(ack.secret->size()));
    out.bytes(*ack.secret);
  }
  out.seal();
  return message;
}

Result<std::size_t> hello_length(std::span<const std::byte> prologue) {
  return stated_length(prologue, k_hello_form);
}

Result<std::size_t> hello_ack_length(std::span<const std::byte> prologue) {
  return stated_length(prologue, k_hello_ack_form);
}

Result<Hello> decode_hello(std::span<const std::byte> message) {
  ByteReader in = FERRY_TRY(open_message(message, k_hello_form)).fields;
  Hello hello;
  hello.version_min = in.u16();
  hello.version_max = in.u16();
  hello.session = in.array<16>();
  hello.role = static_cast<Role>(in.u16());
  hello.index = in.u16();
  hello.path_id = in.u32();
  hello.critical_features = in.u32();
  hello.optional_features = in.u32();
  hello.proof = in.array<32>();
  FERRY_TRY(read_extensions(in, k_hello_form, &know_none));
  if (hello.version_min > hello.version_max) {
    return fail(Errc::protocol, "decode hello: a range of versions that is empty");
  }
  return hello;
}

Result<HelloAck> decode_hello_ack(std::span<const std::byte> message) {
  ByteReader in = FERRY_TRY(open_message(message, k_hello_ack_form)).fields;
  HelloAck ack;
  ack.verdict = static_cast<HelloAck::Verdict>(in.u16());
  ack.version = in.u16();
  ack.session = in.array<16>();
  ack.critical_features = in.u32();
  ack.optional_features = in.u32();
  const std::string reason = in.string();
  if (reason.size() > k_max_text_bytes) {
    return fail(Errc::protocol, "decode hello-ack: a reason beyond all measure");
  }
  ack.reason = escaped(reason);
  FERRY_TRY(read_extensions(in, k_hello_ack_form,
                            [&](auto type, auto value) { return take_secret(ack, type, value); }));
  return ack;
}

}  // namespace ferry::wire
