#include "channels/tls.h"

#include <chrono>
#include <coroutine>
#include <deque>
#include <fstream>
#include <functional>
#include <string>
#include <utility>

#include "base/escape.h"
#include "channels/tcp.h"
#include "channels/tls_context.h"
#include "channels/tls_handshake.h"
#include "channels/tls_key.h"
#include "loop/task_group.h"

namespace ferry {
namespace {

constexpr std::chrono::seconds k_handshake_time{10};
// All channels of a session may come at once, and as many strangers.
constexpr std::size_t k_max_handshakes = 512;

/// "tcp://node7:4446" as peers of this transport are called.
std::string as_tls(const std::string& uri) {
  return uri.starts_with("tcp://") ? "tls" + uri.substr(3) : uri;
}

/// What goes wrong below TLS is told of the address that people gave.
Error as_tls(Error error) {
  if (const std::size_t at = error.context.find("tcp://"); at != error.context.npos) {
    error.context.replace(at, 3, "tls");
  }
  return error;
}

Uri below(Uri uri) {
  uri.scheme = "tcp";
  uri.query.clear();
  return uri;
}

/// The first line of QEMU's keys.psk is NAME:HEX. There is one key here: its name tells nothing.
Result<std::string> key_in(const std::filesystem::path& file) {
  std::ifstream lines(file);
  std::string line;
  std::getline(lines, line);
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
  const std::size_t colon = line.find(':');
  if (colon != line.npos) return line.substr(colon + 1);
  return fail(Errc::usage, "load " + in_quotes(file.native()) + ": no line NAME:KEY in it");
}

/// The key that both sides know; empty where certificates are to be used, or nothing was said.
Result<std::string> key_for(const Uri& uri, const TlsOptions& options) {
  const auto in_uri = uri.query.find("key");
  if (in_uri != uri.query.end()) {
    if (options.key.empty() && options.folder.empty()) return in_uri->second;
    return fail(Errc::usage, uri.shown() + ": there is more than one way to prove who we are",
                "a key in the URI, --key-file or --tls-dir");
  }
  if (!options.key.empty()) return options.key;
  if (options.folder.empty()) return std::string();
  std::error_code none;
  const std::filesystem::path file = options.folder / "keys.psk";
  if (std::filesystem::exists(options.folder / "ca-cert.pem", none)) return std::string();
  if (!std::filesystem::exists(file, none)) return std::string();
  return key_in(file);
}

Result<void> check_query(const Uri& uri) {
  for (const auto& [name, value] : uri.query) {
    if (name == "key") continue;
    return fail(Errc::usage, uri.shown() + ": unknown option " + in_quotes(name), "?key=KEY");
  }
  return {};
}

/// What one side proves itself with.
struct Credentials {
  std::shared_ptr<const TlsContext> context;
  std::string fresh_key;  // a listener's that was given none; empty otherwise
};

/// Reads the files of options.folder, where there is one.
Result<Credentials> load(TlsSide side, const Uri& uri, const TlsOptions& options) {
  Credentials loaded;
  std::string key = FERRY_TRY(key_for(uri, options));
  if (key.empty() && options.folder.empty()) {
    if (side == TlsSide::client) {
      return fail(Errc::usage, "connect " + uri.shown() + ": neither a key nor certificates",
                  "paste the URI that migrate-recv shows, or give --key-file or --tls-dir");
    }
    key = loaded.fresh_key = tls_key_text(FERRY_TRY(fresh_tls_key()));
  }
  if (key.empty()) {
    loaded.context =
        FERRY_TRY(TlsContext::with_certificates(side, options.folder, options.authorized));
  } else {
    loaded.context = FERRY_TRY(TlsContext::with_key(side, FERRY_TRY(parse_tls_key(key))));
  }
  return loaded;
}

/// The same, away from the loop where there are files to be read: a folder may be on a network.
Task<Credentials> credentials(EventLoop& loop, TlsSide side, Uri uri, TlsOptions options) {
  if (options.folder.empty()) {
    Result<Credentials> loaded = load(side, uri, options);
    co_return std::move(loaded);
  }
  auto loaded = std::make_shared<Result<Credentials>>();
  std::function<void()> blocking = [loaded, side, uri, options] {
    *loaded = load(side, uri, options);
  };
  co_await loop.on_helper_thread(std::move(blocking));
  co_return std::move(*loaded);
}

Task<std::unique_ptr<Channel>> connect_tls(EventLoop& loop, Transport& tcp, TlsOptions options,
                                           std::shared_ptr<TlsSessions> sessions, Uri to) {
  co_await check_query(to);
  Credentials proof = co_await credentials(loop, TlsSide::client, to, options);
  Uri plain = below(to);
  Result<std::unique_ptr<Channel>> inner = co_await tcp.connect(loop, std::move(plain)).caught();
  if (!inner) co_return std::unexpected(as_tls(std::move(inner).error()));
  TlsPeer peer;
  peer.name = as_tls((*inner)->info().peer);
  peer.server_name = options.hostname.empty() ? to.host : options.hostname;
  peer.records_per_key = options.records_per_key;
  peer.sessions = std::move(sessions);
  std::unique_ptr<Channel> channel =
      co_await secure(loop, std::move(*inner), std::move(proof.context), std::move(peer));
  co_return std::move(channel);
}

/// What the handshakes have come to, for the one Task that asks. Of the loop's thread alone.
class Arrivals {
 public:
  using Arrival = Result<std::unique_ptr<Channel>>;

  explicit Arrivals(EventLoop& loop) : loop_(loop) {}

  void add(Arrival arrival) {
    state_->queue.push_back(std::move(arrival));
    // Not from within the Task that brings it. It may have been taken meanwhile, with one before
    // it.
    loop_.post([state = state_] {
      if (state->waiting && !state->queue.empty()) std::exchange(state->waiting, {}).resume();
    });
  }

 private:
  struct State {
    std::deque<Arrival> queue;
    std::coroutine_handle<> waiting;
  };

 public:
  /// co_await of it gives the next arrival.
  class Next {
   public:
    explicit Next(Arrivals& arrivals) : state_(arrivals.state_) {}
    Next(const Next&) = delete;
    Next& operator=(const Next&) = delete;
    ~Next() { state_->waiting = {}; }
    bool await_ready() const noexcept { return !state_->queue.empty(); }
    void await_suspend(std::coroutine_handle<> waiting) noexcept { state_->waiting = waiting; }
    Arrival await_resume() {
      Arrival next = std::move(state_->queue.front());
      state_->queue.pop_front();
      return next;
    }

   private:
    std::shared_ptr<State> state_;
  };

 private:
  EventLoop& loop_;
  std::shared_ptr<State> state_ = std::make_shared<State>();  // shared with what is posted
};

class TlsListener final : public Listener {
 public:
  /// On the loop's thread.
  TlsListener(EventLoop& loop, std::unique_ptr<Listener> inner,
              std::shared_ptr<const TlsContext> context, std::uint64_t records_per_key, Uri local)
      : loop_(loop),
        inner_(std::move(inner)),
        context_(std::move(context)),
        records_per_key_(records_per_key),
        local_(std::move(local)),
        arrivals_(loop),
        handshakes_(loop),
        door_(loop) {
    door_.spawn(serve());
  }

  Task<std::unique_ptr<Channel>> accept() override {
    Arrivals::Next next(arrivals_);
    Result<std::unique_ptr<Channel>> channel = co_await next;
    co_return std::move(channel);
  }

  Uri local() const override { return local_; }

 private:
  Task<void> serve() {
    for (;;) {
      Result<std::unique_ptr<Channel>> inner = co_await inner_->accept().caught();
      if (!inner) {
        arrivals_.add(std::unexpected(as_tls(std::move(inner).error())));
        co_return;
      }
      if (handshakes_.size() >= k_max_handshakes) handshakes_.drop_oldest();
      handshakes_.spawn(shake_hands(std::move(*inner)));
    }
  }

  Task<void> shake_hands(std::unique_ptr<Channel> inner) {
    TlsPeer peer;
    peer.name = as_tls(inner->info().peer);
    peer.records_per_key = records_per_key_;
    std::string act = "shake hands with " + peer.name;
    Task<std::unique_ptr<Channel>> handshake =
        secure(loop_, std::move(inner), context_, std::move(peer));
    Result<std::unique_ptr<Channel>> channel =
        co_await loop_.within(Clock::now() + k_handshake_time, std::move(handshake), std::move(act))
            .caught();
    if (channel || channel.error().code == Errc::auth) arrivals_.add(std::move(channel));
  }

  EventLoop& loop_;
  std::unique_ptr<Listener> inner_;
  const std::shared_ptr<const TlsContext> context_;
  const std::uint64_t records_per_key_;
  const Uri local_;
  Arrivals arrivals_;
  TaskGroup handshakes_;
  TaskGroup door_;  // last: it uses all of the above
};

Task<std::unique_ptr<Listener>> listen_tls(EventLoop& loop, Transport& tcp, TlsOptions options,
                                           Uri at) {
  co_await check_query(at);
  Credentials proof = co_await credentials(loop, TlsSide::server, at, options);
  if (!proof.fresh_key.empty()) at.query["key"] = proof.fresh_key;
  Uri plain = below(at);
  Result<std::unique_ptr<Listener>> inner = co_await tcp.listen(loop, std::move(plain)).caught();
  if (!inner) co_return std::unexpected(as_tls(std::move(inner).error()));
  Uri local = (*inner)->local();
  local.scheme = at.scheme;
  local.query = at.query;
  co_return std::make_unique<TlsListener>(loop, std::move(*inner), std::move(proof.context),
                                          options.records_per_key, std::move(local));
}

class TlsTransport final : public Transport {
 public:
  explicit TlsTransport(TlsOptions options) : options_(std::move(options)) {}
  std::string_view scheme() const noexcept override { return "tls"; }
  Task<std::unique_ptr<Channel>> connect(EventLoop& loop, Uri to) override {
    return connect_tls(loop, *tcp_, options_, sessions_, std::move(to));
  }
  Task<std::unique_ptr<Listener>> listen(EventLoop& loop, Uri at) override {
    return listen_tls(loop, *tcp_, options_, std::move(at));
  }

 private:
  const TlsOptions options_;
  // Shared with what connects meanwhile, and with the channels: a session comes when one is read.
  const std::shared_ptr<TlsSessions> sessions_ = std::make_shared<TlsSessions>();
  const std::unique_ptr<Transport> tcp_ = make_tcp_transport();
};

}  // namespace

std::unique_ptr<Transport> make_tls_transport(TlsOptions options) {
  return std::make_unique<TlsTransport>(std::move(options));
}

}  // namespace ferry
