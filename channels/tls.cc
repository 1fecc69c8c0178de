#include "channels/tls.h"

#include <fstream>
#include <functional>
#include <string>
#include <utility>

#include "base/escape.h"
#include "channels/handshake_listener.h"
#include "channels/retold.h"
#include "channels/tcp.h"
#include "channels/tls_context.h"
#include "channels/tls_handshake.h"
#include "channels/tls_key.h"

namespace ferry {
namespace {

/// What the transport is called, and the one below it.
struct Schemes {
  std::string ours;
  std::string inner;

  /// "tcp://node7:4446" as peers of this transport are called.
  std::string as_ours(const std::string& uri) const { return with_scheme(uri, inner, ours); }

  /// What goes wrong below TLS is told of the address that people gave.
  Error as_ours(Error error) const {
    error.context = as_ours(error.context);
    return error;
  }

  Uri below(Uri uri) const {
    uri.scheme = inner;
    uri.query.clear();
    return uri;
  }
};

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
    loaded.context = FERRY_TRY(
        TlsContext::with_certificates(side, options.folder, options.authorized, options.version));
  } else if (options.version != TlsVersion::v1_3) {
    return fail(Errc::usage, uri.shown() + ": TLS 1.2 is for certificates, a key needs TLS 1.3",
                "leave --tls-version out, or give --tls-dir with certificates in it");
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

Task<std::unique_ptr<Channel>> connect_tls(EventLoop& loop, Transport& below, Schemes schemes,
                                           TlsOptions options,
                                           std::shared_ptr<TlsSessions> sessions, Uri to) {
  co_await check_query(to);
  Credentials proof = co_await credentials(loop, TlsSide::client, to, options);
  Uri plain = schemes.below(to);
  Result<std::unique_ptr<Channel>> inner = co_await below.connect(loop, std::move(plain)).caught();
  if (!inner) co_return std::unexpected(schemes.as_ours(std::move(inner).error()));
  TlsPeer peer;
  peer.scheme = schemes.ours;
  peer.name = schemes.as_ours((*inner)->info().peer);
  peer.server_name = options.hostname.empty() ? to.host : options.hostname;
  peer.records_per_key = options.records_per_key;
  peer.records = options.records;
  peer.sessions = std::move(sessions);
  std::unique_ptr<Channel> channel =
      co_await secure(loop, std::move(*inner), std::move(proof.context), std::move(peer));
  co_return std::move(channel);
}

/// What the listener does with each peer.
ShakeHands encrypt_as_server(EventLoop& loop, Schemes schemes,
                             std::shared_ptr<const TlsContext> context,
                             std::uint64_t records_per_key, TlsRecords records) {
  return [&loop, schemes = std::move(schemes), context = std::move(context), records_per_key,
          records](std::unique_ptr<Channel> inner) {
    TlsPeer peer;
    peer.scheme = schemes.ours;
    peer.name = schemes.as_ours(inner->info().peer);
    peer.records_per_key = records_per_key;
    peer.records = records;
    return secure(loop, std::move(inner), context, std::move(peer));
  };
}

Task<std::unique_ptr<Listener>> listen_tls(EventLoop& loop, Transport& below, Schemes schemes,
                                           TlsOptions options, Uri at) {
  co_await check_query(at);
  Credentials proof = co_await credentials(loop, TlsSide::server, at, options);
  if (!proof.fresh_key.empty()) at.query["key"] = proof.fresh_key;
  Uri plain = schemes.below(at);
  Result<std::unique_ptr<Listener>> inner = co_await below.listen(loop, std::move(plain)).caught();
  if (!inner) co_return std::unexpected(schemes.as_ours(std::move(inner).error()));
  Uri local = (*inner)->local();
  local.scheme = at.scheme;
  local.query = at.query;
  co_return make_handshake_listener(
      loop, std::move(*inner), std::move(local),
      encrypt_as_server(loop, std::move(schemes), std::move(proof.context), options.records_per_key,
                        options.records));
}

class TlsTransport final : public Transport {
 public:
  TlsTransport(std::unique_ptr<Transport> inner, std::string scheme, TlsOptions options)
      : options_(std::move(options)),
        inner_(std::move(inner)),
        schemes_{.ours = std::move(scheme), .inner = std::string(inner_->scheme())} {}
  std::string_view scheme() const noexcept override { return schemes_.ours; }
  std::optional<TransportAbilities> abilities() const noexcept override {
    const auto inner = inner_->abilities();
    if (!inner) return std::nullopt;
    return TransportAbilities{.encrypted = true, .placed_writes = inner->placed_writes};
  }
  Task<std::unique_ptr<Channel>> connect(EventLoop& loop, Uri to) override {
    return connect_tls(loop, *inner_, schemes_, options_, sessions_, std::move(to));
  }
  Task<std::unique_ptr<Listener>> listen(EventLoop& loop, Uri at) override {
    return listen_tls(loop, *inner_, schemes_, options_, std::move(at));
  }

 private:
  const TlsOptions options_;
  // Shared with what connects meanwhile, and with the channels: a session comes when one is read.
  const std::shared_ptr<TlsSessions> sessions_ = std::make_shared<TlsSessions>();
  const std::unique_ptr<Transport> inner_;
  const Schemes schemes_;
};

}  // namespace

std::unique_ptr<Transport> make_tls_transport(TlsOptions options) {
  return make_tls_transport_over(make_tcp_transport(), "tls", std::move(options));
}

std::unique_ptr<Transport> make_tls_transport_over(std::unique_ptr<Transport> inner,
                                                   std::string scheme, TlsOptions options) {
  return std::make_unique<TlsTransport>(std::move(inner), std::move(scheme), std::move(options));
}

}  // namespace ferry
