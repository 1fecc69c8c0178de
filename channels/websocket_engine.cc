// The one source that sees Boost.Beast.
#include "channels/websocket_engine.h"

#include "channels/websocket_memory.h"  // before Boost: it chooses the kind of executors

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>
#include <cassert>
#include <deque>
#include <functional>
#include <optional>
#include <ranges>
#include <sstream>
#include <string_view>
#include <utility>

#include "base/escape.h"

namespace ferry {
namespace {

namespace net = boost::asio;
namespace http = boost::beast::http;
namespace websocket = boost::beast::websocket;
using boost::system::error_code;

constexpr std::string_view k_subprotocol = "ferry.v1";
// Of other implementations: ours are smaller. What does not fit is read piece by piece, so this
// costs no memory.
constexpr std::size_t k_most_foreign_message_bytes = 64 * 1024 * 1024;
// Copied and masked at a time: stays in the second-level cache.
constexpr std::size_t k_mask_bytes = 64 * 1024;
constexpr std::size_t k_own_bytes = 16 * 1024;

using beast::k_most_pieces;
using beast::Layer;
using beast::Memory;

/// Pieces of memory as Beast takes them: it copies the list often, and so has it by reference.
template <class Buffer>
class Pieces {
 public:
  using value_type = Buffer;
  using const_iterator = const Buffer*;
  explicit Pieces(const std::vector<Buffer>& list) : begin_(list.data()), size_(list.size()) {}
  const_iterator begin() const noexcept { return begin_; }
  const_iterator end() const noexcept { return begin_ + size_; }

 private:
  const Buffer* begin_;
  std::size_t size_;
};

/// "/path" of "/path?query".
std::string_view path_of(std::string_view target) { return target.substr(0, target.find('?')); }

std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view k_blanks = " \t";
  text.remove_prefix(std::min(text.find_first_not_of(k_blanks), text.size()));
  return text.substr(0, text.find_last_not_of(k_blanks) + 1);
}

/// Is our subprotocol one of those on its lists? There may be several headers, each with a list.
bool offers_ours(const http::request<http::empty_body>& request) {
  const auto [begin, end] = request.equal_range(http::field::sec_websocket_protocol);
  for (auto header = begin; header != end; ++header) {
    for (const auto one : std::views::split(view(header->value()), ',')) {
      if (trimmed(std::string_view(one)) == k_subprotocol) return true;
    }
  }
  return false;
}

Error protocol_error(std::string what) {
  return {Errc::protocol, 0, std::move(what), "is it a WebSocket?"};
}

}  // namespace

struct WebsocketEngine::Context {
  net::io_context io{1};
};

std::shared_ptr<WebsocketEngine::Context> WebsocketEngine::make_context() {
  return std::make_shared<Context>();
}

struct WebsocketEngine::Line {
  explicit Line(std::shared_ptr<Context> shared)
      : context(std::move(shared)), stream(Layer(memory, context->io)) {
    stream.binary(true);
    stream.auto_fragment(false);
    stream.write_buffer_bytes(k_mask_bytes);
    stream.read_message_max(k_most_foreign_message_bytes);
  }

  Result<Handshake> ask();
  Result<Handshake> answer();
  void say_no(http::status status, const std::string& why);
  std::optional<http::status> why_not(const http::request<http::empty_body>& request) const;
  Error not_upgraded(error_code error) const;
  Error reading_failed(error_code error) const;
  void start_reading(std::span<const iovec> into);
  std::size_t take_own(std::span<const iovec> into);

  const std::shared_ptr<Context> context;
  Memory memory;
  websocket::stream<Layer, false> stream;  // false: compresses nothing, and offers not to
  std::vector<iovec> spare;                // room() before anybody reads
  std::vector<std::byte> spare_bytes;

  // The upgrade.
  std::optional<Client> asking;
  std::string path;
  bool asked = false;
  std::optional<error_code> upgraded;
  websocket::response_type response;
  http::request_parser<http::empty_body> parser;

  // Reading: at most one read is under way.
  std::vector<net::mutable_buffer> read_list;
  bool reading = false;
  Target target = Target::callers;
  std::optional<std::pair<error_code, std::size_t>> got;
  bool in_message = false;  // bytes of the message have come already
  std::vector<std::byte> own;
  std::size_t own_begin = 0;
  std::size_t own_end = 0;

  // Writing: is over when the call is.
  std::vector<net::const_buffer> write_list;
};

WebsocketEngine::WebsocketEngine(std::unique_ptr<Line> line) : line_(std::move(line)) {}
WebsocketEngine::~WebsocketEngine() = default;

std::unique_ptr<WebsocketEngine> WebsocketEngine::client(std::shared_ptr<Context> context,
                                                         Client client) {
  auto line = std::make_unique<Line>(std::move(context));
  line->asking = std::move(client);
  return std::unique_ptr<WebsocketEngine>(new WebsocketEngine(std::move(line)));
}

std::unique_ptr<WebsocketEngine> WebsocketEngine::server(std::shared_ptr<Context> context,
                                                         std::string path) {
  auto line = std::make_unique<Line>(std::move(context));
  line->path = std::move(path);
  line->parser.header_limit(k_most_head_bytes);
  return std::unique_ptr<WebsocketEngine>(new WebsocketEngine(std::move(line)));
}

Result<WebsocketEngine::Handshake> WebsocketEngine::shake_hands() {
  return line_->asking ? line_->ask() : line_->answer();
}

Result<WebsocketEngine::Handshake> WebsocketEngine::Line::ask() {
  if (!asked) {
    asked = true;
    stream.set_option(websocket::stream_base::decorator([this](websocket::request_type& request) {
      request.set(http::field::sec_websocket_protocol,
                  boost::beast::string_view(k_subprotocol.data(), k_subprotocol.size()));
      for (const WebsocketHeader& header : asking->headers) {
        request.insert(header.name, header.value);  // one name may come several times
      }
      if (request.count(http::field::user_agent) == 0) {
        request.set(http::field::user_agent, "Ferry");
      }
    }));
    stream.async_handshake(response, asking->host, asking->target,
                           [this](error_code error) { upgraded = error; });
  }
  memory.take_turns();
  if (!upgraded) return Handshake::wants_input;
  if (*upgraded) return std::unexpected(not_upgraded(*upgraded));
  const auto chosen = response[http::field::sec_websocket_protocol];
  if (!chosen.empty() && view(chosen) != k_subprotocol) {
    return std::unexpected(protocol_error("it chose the subprotocol " + in_quotes(view(chosen))));
  }
  return Handshake::done;
}

Error WebsocketEngine::Line::not_upgraded(error_code error) const {
  if (error == http::error::end_of_stream) {
    return {Errc::disconnected, 0, "the peer ended the line", {}};
  }
  if (error != websocket::error::upgrade_declined) {
    return protocol_error("no upgrade to WebSocket: " + error.message());
  }
  const std::string status = std::to_string(response.result_int());
  const bool from_a_proxy = response.result_int() >= 502 && response.result_int() <= 504;
  return {from_a_proxy ? Errc::unreachable : Errc::refused, 0,
          "it answered " + status + " " + escaped(view(response.reason())) +
              ", and no upgrade to WebSocket",
          "is the path right, and does the proxy pass upgrades on?"};
}

Result<WebsocketEngine::Handshake> WebsocketEngine::Line::answer() {
  if (!parser.is_header_done()) {
    error_code error;
    const std::size_t used =
        parser.put(net::const_buffer(memory.early.data(), memory.early.size()), error);
    memory.early.erase(memory.early.begin(),
                       memory.early.begin() + static_cast<std::ptrdiff_t>(used));
    const bool too_long =
        error == http::error::header_limit || memory.early.size() > k_most_head_bytes;
    if (too_long) {
      say_no(http::status::request_header_fields_too_large, "the request's head is too long");
      return std::unexpected(protocol_error("its request is longer than it may be"));
    }
    if (error == http::error::need_more) return Handshake::wants_input;
    if (error) {
      say_no(http::status::bad_request, error.message());
      return std::unexpected(protocol_error("no HTTP request: " + error.message()));
    }
    if (!parser.is_header_done()) return Handshake::wants_input;
  }
  if (!asked) {
    asked = true;
    if (const auto status = why_not(parser.get())) {
      say_no(*status, "Ferry listens for a WebSocket here");
      return std::unexpected(protocol_error("its HTTP request asks for no WebSocket of ours"));
    }
    const bool ours = offers_ours(parser.get());
    stream.set_option(websocket::stream_base::decorator([ours](websocket::response_type& reply) {
      reply.set(http::field::server, "Ferry");
      if (ours) reply.set(http::field::sec_websocket_protocol, std::string(k_subprotocol));
    }));
    stream.async_accept(parser.get(), [this](error_code error) { upgraded = error; });
  }
  memory.take_turns();
  assert(upgraded);  // nothing is left to wait for
  if (*upgraded) return std::unexpected(protocol_error("no WebSocket: " + upgraded->message()));
  return Handshake::done;
}

/// What the answer to a request is that Beast is not to judge.
std::optional<http::status> WebsocketEngine::Line::why_not(
    const http::request<http::empty_body>& request) const {
  if (!path.empty() && path_of(view(request.target())) != path) return http::status::not_found;
  if (!websocket::is_upgrade(request)) return http::status::upgrade_required;
  return std::nullopt;
}

void WebsocketEngine::Line::say_no(http::status status, const std::string& why) {
  http::response<http::string_body> reply(status, 11);
  reply.set(http::field::server, "Ferry");
  reply.set(http::field::connection, "close");
  reply.set(http::field::content_type, "text/plain");
  if (status == http::status::upgrade_required) reply.set(http::field::upgrade, "websocket");
  reply.body() = why + "\n";
  reply.prepare_payload();
  std::ostringstream text;
  text << reply;
  for (const char c : text.str()) memory.outgoing.push_back(static_cast<std::byte>(c));
}

std::span<const iovec> WebsocketEngine::room() noexcept {
  if (line_->memory.waiting) return line_->memory.pieces;
  line_->spare_bytes.resize(k_most_head_bytes);
  line_->spare = {{line_->spare_bytes.data(), line_->spare_bytes.size()}};
  return line_->spare;
}

void WebsocketEngine::arrived(std::size_t bytes) {
  Memory& memory = line_->memory;
  if (memory.waiting) {
    memory.done_reading(bytes);
    return;
  }
  const auto begin = line_->spare_bytes.begin();
  memory.early.insert(memory.early.end(), begin, begin + static_cast<std::ptrdiff_t>(bytes));
}

void WebsocketEngine::ended() {
  Memory& memory = line_->memory;
  if (!memory.waiting) return;
  memory.queue.emplace_back([read = std::exchange(memory.waiting, {})]() mutable {
    read(net::error::make_error_code(net::error::eof), 0);
  });
}

void WebsocketEngine::Line::start_reading(std::span<const iovec> into) {
  read_list.clear();
  for (const iovec& piece : into) {
    if (piece.iov_len == 0) continue;
    if (read_list.size() == k_most_pieces) break;
    read_list.emplace_back(piece.iov_base, piece.iov_len);
  }
  reading = true;
  stream.async_read_some(Pieces(read_list), [this](error_code error, std::size_t bytes) {
    got = {error, bytes};
  });
}

/// Moves what was read to our own memory to `into`.
std::size_t WebsocketEngine::Line::take_own(std::span<const iovec> into) {
  std::size_t taken = 0;
  for (const iovec& piece : into) {
    const std::size_t some = std::min(piece.iov_len, own_end - own_begin);
    std::copy_n(own.begin() + static_cast<std::ptrdiff_t>(own_begin), some,
                static_cast<std::byte*>(piece.iov_base));
    own_begin += some;
    taken += some;
  }
  return taken;
}

Result<WebsocketEngine::Plain> WebsocketEngine::decode(std::span<const iovec> into, Target target) {
  Line& line = *line_;
  for (;;) {
    if (line.own_begin < line.own_end) return Plain{.bytes = line.take_own(into)};
    if (!line.reading) {
      line.target = target;
      if (target == Target::own) line.own.resize(k_own_bytes);
      const iovec own = piece_of(line.own);
      line.start_reading(target == Target::own ? std::span(&own, 1) : into);
    }
    line.memory.take_turns();
    if (!line.got) return Plain{};
    const auto [error, bytes] = *std::exchange(line.got, std::nullopt);
    line.reading = false;
    if (error == websocket::error::closed &&
        line.stream.reason().code == websocket::close_code::normal) {
      return Plain{.bytes = 0, .finished = true};
    }
    if (error) return std::unexpected(line.reading_failed(error));
    if (!line.stream.got_binary()) {
      return fail(Errc::protocol, "the peer sent text, where all is binary");
    }
    const bool over = line.stream.is_message_done();
    if (bytes == 0 && over && !line.in_message) return Plain{.bytes = 0, .finished = true};
    line.in_message = !over;
    if (line.target == Target::own) {
      line.own_begin = 0;
      line.own_end = bytes;
    } else if (bytes > 0) {
      return Plain{.bytes = bytes};
    }
  }
}

Error WebsocketEngine::Line::reading_failed(error_code error) const {
  if (error != websocket::error::closed) {
    return {Errc::protocol, 0, "not by the rules of WebSocket: " + error.message(), {}};
  }
  const websocket::close_reason& reason = stream.reason();
  std::string text = "the peer closed the WebSocket with code " + std::to_string(reason.code);
  if (!reason.reason.empty()) {
    text += " " + in_quotes({reason.reason.data(), reason.reason.size()});
  }
  return {Errc::disconnected, 0, std::move(text), {}};
}

Result<void> WebsocketEngine::encode(IovecWindow& from) {
  Line& line = *line_;
  const std::span<const iovec> window = from.window(k_most_message_bytes);
  line.write_list.clear();
  for (const iovec& piece : window) line.write_list.emplace_back(piece.iov_base, piece.iov_len);
  std::optional<error_code> written;
  line.stream.async_write_some(true, Pieces(line.write_list),
                               [&written](error_code error, std::size_t) { written = error; });
  line.memory.take_turns();
  assert(written);  // nothing is left to wait for
  from.advance(total_bytes(window));
  if (written && !*written) return {};
  return fail(Errc::disconnected, "the peer has closed the WebSocket");
}

Result<void> WebsocketEngine::say_finished() {
  IovecWindow nothing{std::span<const iovec>()};
  return encode(nothing);
}

void WebsocketEngine::say_close() {
  // Waits for the peer's own Close, which nobody reads any more: forgotten with the engine.
  if (!line_->stream.is_open()) return;
  line_->stream.async_close(websocket::close_code::normal, [](error_code) {});
  line_->memory.take_turns();
}

void WebsocketEngine::ping() {
  if (!line_->stream.is_open()) return;
  line_->stream.async_ping({}, [](error_code) {});
  line_->memory.take_turns();
}

void WebsocketEngine::take_outgoing(std::vector<std::byte>& taken) noexcept {
  assert(taken.empty());
  std::swap(line_->memory.outgoing, taken);
}

std::size_t WebsocketEngine::outgoing_bytes() const noexcept {
  return line_->memory.outgoing.size();
}

}  // namespace ferry
