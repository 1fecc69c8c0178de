#include "ferry/uri.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>

#include "base/escape.h"

namespace ferry {
namespace {

/// What follows a scheme.
enum class Form {
  host_and_port,
  cid_and_port,  // the number of a virtual machine in the place of a host
  host_port_and_path,
  path,
  path_or_name,  // '@name' has no file
  command,
  number,
  standard_streams,  // nothing: the line is there already
};

struct SchemeForm {
  std::string_view scheme;
  Form form;
  bool short_form;  // is QEMU's form without "//" understood?
};

constexpr std::array k_scheme_forms = {
    SchemeForm{"tcp", Form::host_and_port, true},
    SchemeForm{"vsock", Form::cid_and_port, true},
    SchemeForm{"rdma", Form::host_and_port, true},
    SchemeForm{"rdma+tls", Form::host_and_port, false},
    SchemeForm{"tls", Form::host_and_port, false},
    SchemeForm{"ws", Form::host_port_and_path, false},
    SchemeForm{"wss", Form::host_port_and_path, false},
    SchemeForm{"unix", Form::path_or_name, true},
    SchemeForm{"file", Form::path, true},
    SchemeForm{"exec", Form::command, true},
    SchemeForm{"fd", Form::number, true},
    SchemeForm{"stdio", Form::standard_streams, true},
};

/// A scheme of a transport that others added takes host, port and path.
SchemeForm form_of(std::string_view scheme) noexcept {
  for (const SchemeForm& known : k_scheme_forms) {
    if (known.scheme == scheme) return known;
  }
  return {scheme, Form::host_port_and_path, false};
}

// The C locale's classes, whatever the process has set.
constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
constexpr bool is_letter(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
constexpr bool is_control(char c) noexcept {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}
constexpr bool is_name(char c) noexcept {
  return is_letter(c) || is_digit(c) || c == '.' || c == '-' || c == '_';
}

bool has_control(std::string_view text) noexcept { return std::ranges::any_of(text, is_control); }

/// A URI as others may see it, although it may be none: without what follows `key=`, all of it.
std::string without_key(std::string_view text) {
  const std::size_t query = std::min(text.find('?'), text.size());
  const std::size_t key = text.find("key=", query);
  if (key == text.npos) return std::string(text);
  return std::string(text.substr(0, key)) + "key=...";
}

/// `text` for an error's one line, however long it is.
std::string quoted(std::string_view text) {
  constexpr std::size_t k_shown = 200;
  if (text.size() <= k_shown) return in_quotes(text);
  return "'" + escaped(text.substr(0, k_shown)) + "...'";
}

/// Cuts `text` at the first `mark`; the second half is nothing where there is none.
std::pair<std::string_view, std::optional<std::string_view>> cut(std::string_view text, char mark) {
  const std::size_t at = text.find(mark);
  if (at == text.npos) return {text, std::nullopt};
  return {text.substr(0, at), text.substr(at + 1)};
}

/// A whole decimal number up to `max`, and nothing but digits.
template <class Number>
std::optional<Number> decimal(std::string_view text,
                              Number max = std::numeric_limits<Number>::max()) {
  if (text.empty() || !std::ranges::all_of(text, is_digit)) return std::nullopt;
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number > max) return std::nullopt;
  return number;
}

std::string encode_percent(std::string_view text, std::string_view special) {
  constexpr std::string_view k_digits = "0123456789ABCDEF";
  std::string out;
  for (char c : text) {
    if (c == '%' || c == ' ' || special.contains(c)) {
      const auto byte = static_cast<unsigned char>(c);
      out += {'%', k_digits[byte >> 4], k_digits[byte & 15]};
    } else {
      out += c;
    }
  }
  return out;
}

/// One parse: remembers the whole text, for its errors.
class Parser {
 public:
  explicit Parser(std::string_view text) noexcept : text_(text) {}

  Result<Uri> parse() {
    if (text_.empty()) return wrong("it is empty", "write tcp://host:port or unix:///path");
    if (has_control(text_)) return wrong("control characters are not allowed");
    const auto [scheme, rest] = cut(text_, ':');
    if (!rest) return wrong("it has no scheme", "write tcp://host:port or unix:///path");
    if (!is_scheme(scheme)) return wrong(quoted(scheme) + " is not the name of a scheme");
    for (char c : scheme) uri_.scheme += is_letter(c) ? static_cast<char>(c | 0x20) : c;
    FERRY_TRY(parse_address(*rest));
    return std::move(uri_);
  }

 private:
  static bool is_scheme(std::string_view token) noexcept {
    return !token.empty() && is_letter(token[0]) && std::ranges::all_of(token, [](char c) {
      return is_letter(c) || is_digit(c) || c == '+' || c == '-' || c == '.';
    });
  }

  std::unexpected<Error> wrong(std::string why, std::string remedy = {}) const {
    return fail(Errc::usage, "parse URI " + quoted(without_key(text_)) + ": " + std::move(why),
                std::move(remedy));
  }

  Result<void> parse_address(std::string_view rest) {
    const SchemeForm scheme = form_of(uri_.scheme);
    switch (scheme.form) {
      case Form::command:
        if (rest.empty()) return wrong("the command is missing", "write exec:command");
        uri_.path = rest;
        return {};
      case Form::number:
        return parse_descriptor(rest);
      case Form::standard_streams:
        if (!rest.empty()) return wrong("nothing may follow '" + uri_.scheme + ":'");
        return {};
      case Form::host_and_port:
      case Form::cid_and_port:
      case Form::host_port_and_path:
      case Form::path:
      case Form::path_or_name:
        break;
    }
    if (rest.starts_with("//")) return parse_long_form(scheme.form, rest.substr(2));
    if (!scheme.short_form) {
      return wrong("'//' must follow '" + uri_.scheme + ":'",
                   "write " + uri_.scheme + "://host:port");
    }
    return parse_place(scheme.form, rest);
  }

  Result<void> parse_descriptor(std::string_view rest) {
    const auto number = decimal<int>(rest);
    if (!number) return wrong("a descriptor's number must follow 'fd:'", "write fd:3");
    uri_.path = std::to_string(*number);
    return {};
  }

  Result<void> parse_long_form(Form form, std::string_view rest) {
    const auto [address, query] = cut(rest, '?');
    if (query) FERRY_TRY(parse_query(*query));
    if (form == Form::host_port_and_path) {
      const std::string_view authority = address.substr(0, address.find('/'));
      uri_.path = FERRY_TRY(decode_percent(address.substr(authority.size())));
      return parse_host_and_port(authority);
    }
    if (form == Form::host_and_port || form == Form::cid_and_port)
      return parse_place(form, address);
    return parse_place(form, FERRY_TRY(decode_percent(address)));
  }

  /// What the short form is all of, and the long one begins with.
  Result<void> parse_place(Form form, std::string_view address) {
    switch (form) {
      case Form::cid_and_port:
        return parse_cid_and_port(address);
      case Form::path_or_name:
        return address.starts_with('@') ? take_name(address) : take_path(address);
      case Form::path:
        return take_path(address);
      default:
        return parse_host_and_port(address);
    }
  }

  Result<void> take_name(std::string_view name) {
    if (name.size() == 1) {
      return wrong("the abstract name is missing", "write " + uri_.scheme + "://@name");
    }
    uri_.path = name;
    return {};
  }

  Result<void> take_path(std::string_view path) {
    const std::string example = uri_.scheme + ":///path";
    if (path.empty()) return wrong("the path is missing", "write " + example);
    if (!path.starts_with('/')) {
      return wrong("the path must begin with '/'", "write " + example);
    }
    uri_.path = path;
    return {};
  }

  Result<void> parse_cid_and_port(std::string_view address) {
    if (address.starts_with('[')) {
      return wrong("a cid stands in no brackets", "brackets are for IPv6 alone");
    }
    const std::string_view cid = address.substr(0, address.find(':'));
    if (!cid.empty() && !decimal<std::uint32_t>(cid)) {
      return wrong("a " + uri_.scheme + " address is a number (cid) from 0 to 4294967295");
    }
    return parse_host_and_port(address);
  }

  Result<void> parse_host_and_port(std::string_view address) {
    if (address.starts_with('[')) return parse_bracketed(address);
    const auto [host, port] = cut(address, ':');
    if (port && port->contains(':')) {
      return wrong("too many colons", "an IPv6 address stands in brackets: [::1]:4446");
    }
    if (!std::ranges::all_of(host, is_name))
      return wrong(quoted(host) + " is not the name of a host");
    uri_.host = host;
    return port ? take_port(*port) : Result<void>();
  }

  /// "[v6]" or "[v6]:port"; the address may end in "%interface".
  Result<void> parse_bracketed(std::string_view address) {
    const auto [host, rest] = cut(address.substr(1), ']');
    if (!rest) return wrong("']' is missing");
    const auto [literal, zone] = cut(host, '%');
    in6_addr ignored;
    const bool sound = inet_pton(AF_INET6, std::string(literal).c_str(), &ignored) == 1 &&
                       (!zone || (!zone->empty() && std::ranges::all_of(*zone, is_name)));
    if (!sound) {
      return wrong(quoted(host) + " is not an IPv6 address", "brackets are for IPv6 alone");
    }
    uri_.host = host;
    if (rest->empty()) return {};
    if (!rest->starts_with(':')) return wrong("only ':port' may follow ']'");
    return take_port(rest->substr(1));
  }

  Result<void> take_port(std::string_view digits) {
    const auto port = decimal<std::uint16_t>(digits);
    if (!port) return wrong("port must be 0 to 65535");
    uri_.port = *port;
    return {};
  }

  Result<void> parse_query(std::string_view query) {
    std::optional<std::string_view> rest = query;
    while (rest && !rest->empty()) {
      const auto [option, more] = cut(*rest, '&');
      const auto [name, value] = cut(option, '=');
      std::string key = FERRY_TRY(decode_percent(name));
      if (key.empty()) return wrong("an option has no name", "write ?name=value&name=value");
      std::string decoded = FERRY_TRY(decode_percent(value.value_or("")));
      if (!uri_.query.emplace(key, std::move(decoded)).second) {
        return wrong("option " + quoted(key) + " is given twice");
      }
      rest = more;
    }
    return {};
  }

  Result<std::string> decode_percent(std::string_view text) const {
    std::string out;
    for (std::size_t at = 0; at < text.size(); ++at) {
      if (text[at] != '%') {
        out += text[at];
        continue;
      }
      const std::string_view digits = text.substr(at + 1, 2);
      unsigned char byte = 0;
      const auto [end, error] =
          std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
      if (digits.size() != 2 || error != std::errc{} || end != digits.data() + digits.size()) {
        return wrong("two hexadecimal digits must follow '%'", "write '%' itself as %25");
      }
      out += static_cast<char>(byte);
      at += 2;
    }
    if (has_control(out)) return wrong("control characters are not allowed");
    return out;
  }

  std::string_view text_;
  Uri uri_;
};

}  // namespace

Result<Uri> Uri::parse(std::string_view text) { return Parser(text).parse(); }

bool Uri::is_standard_streams() const { return form_of(scheme).form == Form::standard_streams; }

std::string Uri::shown() const {
  Uri other = *this;
  if (const auto key = other.query.find("key"); key != other.query.end()) key->second = "...";
  return other.text();
}

std::string Uri::text() const {
  std::string out = scheme;
  switch (form_of(scheme).form) {
    case Form::command:
    case Form::number:
    case Form::standard_streams:
      return out + ":" + path;
    case Form::path:
    case Form::path_or_name:
      out += "://" + encode_percent(path, "?");
      break;
    case Form::host_and_port:
    case Form::cid_and_port:
    case Form::host_port_and_path:
      out += host.contains(':') ? "://[" + host + "]" : "://" + host;
      // Where there is nothing but a path, it need not look like a port's.
      if (!host.empty() || path.empty() || port != k_default_port)
        out += ":" + std::to_string(port);
      out += encode_percent(path, "?");
      break;
  }
  char mark = '?';
  for (const auto& [name, value] : query) {
    out += mark + encode_percent(name, "=&") + "=" + encode_percent(value, "&");
    mark = '&';
  }
  return out;
}

}  // namespace ferry
