// Control frames that no encoder would write, and what becomes of them.
#pragma once

#include <cstdint>
#include <functional>

#include "tests/wire/forge.h"
#include "wire/control.h"

namespace ferry::wire {

/// A frame whose fields are whatever `fields` writes.
inline Bytes frame(
    std::uint16_t type, const std::function<void(ByteWriter&)>& fields = [](auto&) {}) {
  return sealed("FRYC", [&](ByteWriter& out) {
    out.u16(type);
    fields(out);
  });
}

template <class Frame>
bool comes_out(const Frame& value) {
  const auto decoded = decode_control(encode(value));
  return decoded && *decoded == ControlFrame(value);
}

/// Is it refused by its values, with a checksum that is right?
inline bool is_refused(const Bytes& message) {
  const auto decoded = decode_control(message);
  return !decoded && decoded.error().code == Errc::protocol;
}

}  // namespace ferry::wire
