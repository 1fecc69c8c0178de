// WebSocket (RFC 6455) in memory, by Boost.Beast: bytes of the line in, bytes of the line out.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/iovec_window.h"
#include "channels/websocket_header.h"
#include "ferry/result.h"

namespace ferry {

/// One end of a WebSocket over a line that it does not know: what comes in is put into room(), what
/// goes out is taken by take_outgoing(); nothing here blocks. One thread at a time, but for the
/// bytes of room(): those may be filled while another thread is in any other call.
///
/// Bytes travel as binary messages of at most k_most_message_bytes, of one frame each; where a
/// message begins and ends means nothing, but for one: **an empty message says that its sender has
/// finished**. A Close frame ends both directions at once, and so comes after both have finished.
/// Of other implementations any frames and fragments of binary messages are taken, and a Close with
/// code 1000 for a finish, too. Pings are answered by themselves.
class WebsocketEngine {
 public:
  /// What the engines of a process have in common, because Beast wants it: it is never run.
  struct Context;
  static std::shared_ptr<Context> make_context();

  /// The side that asks. Its request becomes outgoing with the first shake_hands().
  struct Client {
    std::string host;    ///< for the header Host
    std::string target;  ///< "/path"
    std::vector<WebsocketHeader> headers{};
  };
  static std::unique_ptr<WebsocketEngine> client(std::shared_ptr<Context> context, Client client);
  /// The side that is asked: only at `path`, or at any where it is empty.
  static std::unique_ptr<WebsocketEngine> server(std::shared_ptr<Context> context,
                                                 std::string path);
  ~WebsocketEngine();
  WebsocketEngine(const WebsocketEngine&) = delete;
  WebsocketEngine& operator=(const WebsocketEngine&) = delete;

  static constexpr std::size_t k_most_message_bytes = 256 * 1024;
  /// What the heads of the HTTP request and its answer may have.
  static constexpr std::size_t k_most_head_bytes = 8 * 1024;

  enum class Handshake { wants_input, done };
  /// Goes on with the upgrade. What is outgoing afterwards is to be sent, also after a failure: it
  /// says no, as HTTP does (400, 404, 426, 431). Errc::refused where the answer to our request was
  /// another one than yes, Errc::unreachable where it came from a proxy that does not reach the
  /// peer (502 to 504), Errc::protocol where the peer does not speak WebSocket.
  Result<Handshake> shake_hands();

  /// Where the next bytes of the line are to be read to: after a call that wants more.
  std::span<const iovec> room() noexcept;
  /// So many bytes have been put there.
  void arrived(std::size_t bytes);
  /// There is no more: an answer to our request may end so.
  void ended();

  struct Plain {
    std::size_t bytes = 0;
    bool finished = false;  ///< the peer has: by an empty message, or by closing
  };
  /// What may be read to while decode() waits for more.
  enum class Target {
    callers,  ///< `into`, straight: the next call has the same `into`, or there is none
    own,      ///< the engine's memory: the next call may have another `into`
  };
  /// What has arrived and fits. Neither bytes nor the end: more must arrive. Errc::protocol;
  /// Errc::disconnected where the peer closed for a reason of its own, which the text has.
  Result<Plain> decode(std::span<const iovec> into, Target target);

  /// One message of what is next in `from`, which it advances.
  Result<void> encode(IovecWindow& from);
  Result<void> say_finished();
  /// After both have finished.
  void say_close();
  /// So that something passes; the peer answers.
  void ping();

  /// Exchanges what is for the peer with `taken`, which must be empty: both keep their memory.
  void take_outgoing(std::vector<std::byte>& taken) noexcept;
  std::size_t outgoing_bytes() const noexcept;

 private:
  struct Line;
  explicit WebsocketEngine(std::unique_ptr<Line> line);
  std::unique_ptr<Line> line_;
};

}  // namespace ferry
