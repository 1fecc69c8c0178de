// Text from elsewhere, made safe to show.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace ferry {

namespace detail {

/// How many bytes at the front of `text` are one character that a terminal may see as it is; 0
/// where there is none: a control character (also of the C1 set), or no UTF-8.
inline std::size_t showable(std::string_view text) noexcept {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return lead >= 0x20 && lead != 0x7f ? 1 : 0;
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool c1_control = lead == 0xc2 && byte(1) < 0xa0;
  const bool overlong = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xf0 && byte(1) < 0x90);
  const bool no_character = (lead == 0xed && byte(1) > 0x9f) || (lead == 0xf4 && byte(1) > 0x8f);
  return c1_control || overlong || no_character ? 0 : length;
}

}  // namespace detail

/// `text` with every byte that a terminal or a log could stumble over as \xNN. What is escaped once
/// stays as it is when it is escaped again, so every layer may do it.
inline std::string escaped(std::string_view text) {
  constexpr std::string_view k_digits = "0123456789abcdef";
  std::string safe;
  safe.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = detail::showable(text);
    if (length > 0) {
      safe += text.substr(0, length);
    } else {
      const auto byte = static_cast<unsigned char>(text[0]);
      safe += {'\\', 'x', k_digits[byte >> 4], k_digits[byte & 15]};
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return safe;
}

/// The same, in single quotes: how messages name files and what a peer said.
inline std::string in_quotes(std::string_view text) { return "'" + escaped(text) + "'"; }

}  // namespace ferry
