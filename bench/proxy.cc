#include "bench/proxy.h"

#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "bench/bare_limit.h"

namespace ferry::bench {
namespace {

constexpr const char* k_nginx = "/usr/sbin/nginx";

/// In the foreground; what it logs goes where this program reads.
std::string configuration(std::uint16_t port, std::uint16_t to) {
  return fmt::format(R"(daemon off; worker_processes 1; pid nginx.pid;
error_log /dev/stdout notice;
events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path body; proxy_temp_path proxy;
  fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {{
    listen 127.0.0.1:{};
    location / {{
      proxy_pass http://127.0.0.1:{};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
    }}
  }}
}}
)",
                     port, to);
}

/// A port that nobody has now: nginx cannot choose one by itself, and say which.
Result<std::uint16_t> free_port() {
  const BareListener listener = FERRY_TRY(BareListener::create());
  return static_cast<std::uint16_t>(std::stoi(listener.address()));
}

void remove(const std::string& folder) {
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
}

/// Reads its log until it serves.
Result<void> wait_until_up(Process& nginx) {
  std::string last = "it said nothing";
  while (const Result<std::string> line = nginx.read_line()) {
    last = *line;
    if (last.contains("start worker process ")) return {};
  }
  return fail(Errc::system, fmt::format("start {}: {}", k_nginx, last));
}

}  // namespace

Result<Proxy> Proxy::start(std::uint16_t to) {
  if (::access(k_nginx, X_OK) != 0) {
    return fail(Errc::unsupported, fmt::format("there is no {} here", k_nginx));
  }
  std::string folder = "/tmp/ferry-bench-proxy-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return fail_sys(Errc::system, errno, "make a folder");
  const std::uint16_t port = FERRY_TRY(free_port());
  const std::string file = folder + "/nginx.conf";
  std::ofstream(file) << configuration(port, to);
  auto nginx = Process::start({k_nginx, "-p", folder, "-c", file, "-e", folder + "/error.log"});
  auto up = nginx ? wait_until_up(*nginx) : Result<void>(std::unexpected(nginx.error()));
  if (!up) {
    remove(folder);
    return std::unexpected(std::move(up).error());
  }
  return Proxy(std::move(folder), port, *std::move(nginx));
}

Proxy::~Proxy() {
  if (nginx_.id() <= 0) return;  // moved from
  ::kill(nginx_.id(), SIGTERM);  // which ends its worker, too
  (void)nginx_.wait();
  remove(folder_);
}

}  // namespace ferry::bench
