#include "tests/e2e/nginx.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "tests/e2e/certificates.h"
#include "tests/e2e/relay.h"

namespace ferry {
namespace {

constexpr const char* k_nginx = "/usr/sbin/nginx";

std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

Nginx::Nginx(std::uint16_t to, Ends ends, const std::string& settings) : ends_(ends) {
  if (::access(k_nginx, X_OK) != 0) {
    why_not_ = "there is no nginx here (Debian's nginx-light)";
    return;
  }
  // A port that nobody has now; whoever takes it meanwhile makes a test fail, and say why.
  port_ = DeafListener().port;
  write_file(folder_ / "nginx.conf", configuration(to, settings));
  process_.emplace(std::vector<std::string>{k_nginx, "-p", folder_.path(), "-c",
                                            folder_ / "nginx.conf", "-e", folder_ / "error.log"});
  // It says on standard error that it listens, because its log has the level `notice`.
  const bool up = process_->read_until(process_->err(), [](const std::string& text) {
    return text.contains("start worker process ");
  });
  if (up) return;
  why_not_ = "nginx does not start: " + process_->err() + log();
  process_.reset();
}

Nginx::~Nginx() {
  if (!process_) return;
  process_->signal(SIGTERM);
  process_->wait();
}

std::string Nginx::uri() const {
  return (ends_ == Ends::tls ? "wss://127.0.0.1:" : "ws://127.0.0.1:") + std::to_string(port_) +
         "/ferry";
}

std::string Nginx::log() const { return contents(folder_ / "error.log"); }

std::string Nginx::configuration(std::uint16_t to, const std::string& settings) const {
  std::string listen = "listen 127.0.0.1:" + std::to_string(port_);
  if (ends_ == Ends::tls) {
    const std::string& all = Certificates::all().native();
    listen += " ssl; ssl_protocols TLSv1.3; ssl_certificate " + all +
              "/server-cert.pem; ssl_certificate_key " + all + "/server-key.pem";
  }
  // One worker, in the foreground, that writes nowhere but here.
  return "daemon off; worker_processes 1; pid nginx.pid;\n"
         "error_log stderr notice;\n"
         "events { worker_connections 512; }\n"
         "http {\n"
         "  access_log off; client_body_temp_path body; proxy_temp_path proxy;\n"
         "  fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n"
         "  server {\n    " +
         listen +
         ";\n"
         "    location /ferry {\n"
         "      proxy_pass http://127.0.0.1:" +
         std::to_string(to) +
         ";\n"
         "      proxy_http_version 1.1;\n"
         "      proxy_set_header Upgrade $http_upgrade;\n"
         "      proxy_set_header Connection upgrade;\n"
         "      " +
         settings + "\n    }\n  }\n}\n";
}

}  // namespace ferry
