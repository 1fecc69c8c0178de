#include "channels/websocket.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "base/escape.h"
#include "channels/handshake_listener.h"
#include "channels/retold.h"
#include "channels/tcp.h"
#include "channels/websocket_engine.h"
#include "channels/websocket_upgrade.h"

namespace ferry {
namespace {

/// The address of the channel within.
Uri below(Uri uri, std::string_view scheme) {
  uri.scheme = scheme;
  uri.path.clear();
  return uri;
}

/// As the header Host has it.
std::string host_header(const Uri& uri) {
  const std::string host = uri.host.contains(':') ? "[" + uri.host + "]" : uri.host;
  return host + ":" + std::to_string(uri.port);
}

bool is_letter_or_digit(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/// The path as a request has it: all but RFC 3986's pchar and '/' encoded, "/" where there is none.
std::string target_of(const Uri& uri) {
  constexpr std::string_view k_plain = "/-._~!$&'()*+,;=:@";
  constexpr std::string_view k_digits = "0123456789ABCDEF";
  std::string target;
  for (const char c : uri.path.empty() ? std::string_view("/") : std::string_view(uri.path)) {
    if (is_letter_or_digit(c) || k_plain.contains(c)) {
      target += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      target += {'%', k_digits[byte >> 4], k_digits[byte & 15]};
    }
  }
  return target;
}

/// What a sender reached, by the name that it gave: without the key.
std::string name_of(Uri uri) {
  uri.query.clear();
  return uri.text();
}

class WebsocketTransport final : public Transport {
 public:
  WebsocketTransport(std::string scheme, std::unique_ptr<Transport> inner,
                     std::vector<WebsocketHeader> headers)
      : scheme_(std::move(scheme)), inner_(std::move(inner)), headers_(std::move(headers)) {}

  std::string_view scheme() const noexcept override { return scheme_; }
  /// It copies: a client masks what it sends.
  std::optional<TransportAbilities> abilities() const noexcept override {
    return TransportAbilities{.encrypted = inner_->abilities()->encrypted};
  }

  Task<std::unique_ptr<Channel>> connect(EventLoop& loop, Uri to) override {
    for (const WebsocketHeader& header : headers_) co_await check_websocket_header(header);
    Uri plain = below(to, inner_->scheme());
    Result<std::unique_ptr<Channel>> inner =
        co_await inner_->connect(loop, std::move(plain)).caught();
    if (!inner) co_return std::unexpected(ours(std::move(inner).error()));
    WebsocketEngine::Client client;
    client.host = host_header(to);
    client.target = target_of(to);
    client.headers = headers_;
    auto engine = WebsocketEngine::client(context_, std::move(client));
    std::string name = name_of(std::move(to));
    co_return co_await upgrade(loop, std::move(*inner), std::move(engine), std::move(name));
  }

  Task<std::unique_ptr<Listener>> listen(EventLoop& loop, Uri at) override {
    Uri plain = below(at, inner_->scheme());
    Result<std::unique_ptr<Listener>> inner =
        co_await inner_->listen(loop, std::move(plain)).caught();
    if (!inner) co_return std::unexpected(ours(std::move(inner).error()));
    Uri local = (*inner)->local();
    local.scheme = scheme_;
    local.path = at.path;
    const ShakeHands upgrade_as_server =
        [&loop, context = context_, path = at.path.empty() ? "" : target_of(at), scheme = scheme_,
         below = std::string(inner_->scheme())](std::unique_ptr<Channel> channel) {
          std::string name = with_scheme(channel->info().peer, below, scheme);
          auto engine = WebsocketEngine::server(context, path);
          return upgrade(loop, std::move(channel), std::move(engine), std::move(name));
        };
    co_return make_handshake_listener(loop, std::move(*inner), std::move(local), upgrade_as_server);
  }

 private:
  /// What goes wrong below is told of the address that people gave.
  Error ours(Error error) const {
    error.context = with_scheme(std::move(error.context), std::string(inner_->scheme()), scheme_);
    return error;
  }

  const std::string scheme_;
  const std::unique_ptr<Transport> inner_;
  const std::vector<WebsocketHeader> headers_;
  const std::shared_ptr<WebsocketEngine::Context> context_ = WebsocketEngine::make_context();
};

bool is_token(char c) noexcept {
  constexpr std::string_view k_marks = "!#$%&'*+-.^_`|~";
  return is_letter_or_digit(c) || k_marks.contains(c);
}

std::string in_small_letters(std::string_view text) {
  std::string small;
  for (const char c : text) small += c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  return small;
}

}  // namespace

Result<void> check_websocket_header(const WebsocketHeader& header) {
  // The value may be a secret, and stays out of the message.
  const auto no = [&](const std::string& why) {
    return fail(Errc::usage, "HTTP header " + in_quotes(header.name) + ": " + why);
  };
  if (header.name.empty() || !std::ranges::all_of(header.name, is_token)) {
    return no("this is not the name of a header");
  }
  const std::string name = in_small_letters(header.name);
  const bool of_the_upgrade = name == "connection" || name == "upgrade" || name == "host" ||
                              name == "content-length" || name == "transfer-encoding" ||
                              name.starts_with("sec-websocket-");
  if (of_the_upgrade) return no("the upgrade itself sets it");
  const auto is_control = [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
  };
  if (std::ranges::any_of(header.value, is_control)) {
    return no("there are control characters in its value");
  }
  if (header.name.size() + header.value.size() > WebsocketEngine::k_most_head_bytes / 2) {
    return no("it is too long");
  }
  return {};
}

std::unique_ptr<Transport> make_ws_transport(std::vector<WebsocketHeader> headers) {
  return std::make_unique<WebsocketTransport>("ws", make_tcp_transport(), std::move(headers));
}

std::unique_ptr<Transport> make_wss_transport(std::unique_ptr<Transport> tls,
                                              std::vector<WebsocketHeader> headers) {
  return std::make_unique<WebsocketTransport>("wss", std::move(tls), std::move(headers));
}

}  // namespace ferry
