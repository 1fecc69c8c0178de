#include "bench/qemu_run.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>
#include <vector>

#include "bench/data.h"
#include "bench/process.h"
#include "ferry/unique_fd.h"

namespace ferry::bench {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds k_patience{60};

std::string credentials(const std::string& role, const std::string& folder) {
  return fmt::format(
      "tls-creds-x509,id=tls,endpoint={},dir={},verify-peer=on,"
      "priority=NORMAL:-CIPHER-ALL:+AES-128-GCM",
      role, folder);
}

/// A QEMU, and the line over which it is told what to do (QMP).
class Qemu {
 public:
  static Result<Qemu> start(const QemuMigration& migration, const std::string& role,
                            const std::string& memory) {
    const std::string line = memory + ".qmp";
    std::vector<std::string> argv{
        migration.program,
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-S",
        "-accel",
        "tcg",
        "-machine",
        "pc,memory-backend=memory",
        "-m",
        fmt::format("{}M", migration.bytes / k_mib),
        "-object",
        fmt::format("memory-backend-file,id=memory,size={},mem-path={},share=on,prealloc=on",
                    migration.bytes, memory),
        "-qmp",
        fmt::format("unix:{},server=on,wait=off", line)};
    if (!migration.certificates.empty()) {
      argv.insert(argv.end(), {"-object", credentials(role, migration.certificates)});
    }
    if (role == "server") argv.insert(argv.end(), {"-incoming", "defer"});
    Process process = FERRY_TRY(Process::start(argv));
    const ScratchFile socket_file(line);
    UniqueFd socket = FERRY_TRY(reach(line));
    Qemu qemu(std::move(process), std::move(socket));
    FERRY_TRY(qemu.read());  // its greeting
    FERRY_TRY(qemu.execute("qmp_capabilities"));
    return qemu;
  }

  /// What the command answers; events that come before it are left out.
  Result<json> execute(const std::string& command, const json& arguments = json::object()) {
    const std::string text = json{{"execute", command}, {"arguments", arguments}}.dump() + "\n";
    if (::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(text.size())) {
      return fail_sys(Errc::disconnected, errno, "speak to QEMU");
    }
    for (;;) {
      json answer = FERRY_TRY(read());
      if (answer.contains("return")) return answer["return"];
      if (answer.contains("error")) {
        return fail(Errc::guest, fmt::format("QEMU, {}: {}", command, answer["error"].dump()));
      }
    }
  }

  /// Blocks until it says that the migration is over.
  Result<void> completed() {
    for (;;) {
      const json event = FERRY_TRY(read());
      if (event.value("event", "") != "MIGRATION") continue;
      const std::string status = event["data"].value("status", "");
      if (status == "completed") return {};
      if (status == "failed") {
        const json why = FERRY_TRY(execute("query-migrate"));
        return fail(Errc::guest, fmt::format("QEMU does not migrate: {}", why.dump()));
      }
    }
  }

  Result<double> cpu() const { return cpu_seconds(process_.id()); }

  Result<void> quit() {
    FERRY_TRY(execute("quit"));
    FERRY_TRY(process_.wait());
    return {};
  }

 private:
  Qemu(Process process, UniqueFd socket)
      : process_(std::move(process)), socket_(std::move(socket)) {}

  /// It makes its socket some time after it has started.
  static Result<UniqueFd> reach(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return fail(Errc::usage, "the folder is too long");
    path.copy(address.sun_path, path.size());
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const Clock::time_point last = Clock::now() + k_patience;
    while (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      if (Clock::now() > last) return fail_sys(Errc::unreachable, errno, "reach QEMU");
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    const timeval patience{.tv_sec = k_patience.count(), .tv_usec = 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
  }

  /// Its next word: a line of JSON.
  Result<json> read() {
    std::size_t end = 0;
    while ((end = unread_.find('\n')) == std::string::npos) {
      std::array<char, 4096> buffer;
      const ssize_t n = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
      if (n <= 0) return fail_sys(Errc::disconnected, n < 0 ? errno : 0, "listen to QEMU");
      unread_.append(buffer.data(), static_cast<std::size_t>(n));
    }
    json word = json::parse(unread_.substr(0, end), nullptr, false);
    unread_.erase(0, end + 1);
    if (word.is_object()) return word;
    return fail(Errc::protocol, "QEMU says what is no JSON");
  }

  Process process_;
  UniqueFd socket_;
  std::string unread_;
};

Result<void> prepare(Qemu& qemu, const QemuMigration& migration) {
  json capabilities = json::array();
  for (const char* name : {"multifd", "events"}) {
    capabilities.push_back({{"capability", name}, {"state", true}});
  }
  FERRY_TRY(qemu.execute("migrate-set-capabilities", {{"capabilities", capabilities}}));
  json parameters{{"multifd-channels", migration.channels},
                  {"max-bandwidth", std::uint64_t{1} << 40}};
  if (!migration.certificates.empty()) {
    parameters.update({{"tls-creds", "tls"}, {"tls-hostname", "localhost"}});
  }
  FERRY_TRY(qemu.execute("migrate-set-parameters", parameters));
  return {};
}

/// Begins to wait at a free port, and says which.
Result<std::string> listen(Qemu& qemu) {
  FERRY_TRY(qemu.execute("migrate-incoming", {{"uri", "tcp:127.0.0.1:0"}}));
  const json state = FERRY_TRY(qemu.execute("query-migrate"));
  const json addresses = state.value("socket-address", json::array());
  if (addresses.empty()) return fail(Errc::guest, "QEMU does not say where it listens");
  return addresses[0].value("port", "");
}

Result<Run> measure(Qemu& source, Qemu& destination, const std::string& port) {
  const double sent = FERRY_TRY(source.cpu());
  const double received = FERRY_TRY(destination.cpu());
  const Clock::time_point begin = Clock::now();
  FERRY_TRY(source.execute("migrate", {{"uri", "tcp:127.0.0.1:" + port}}));
  FERRY_TRY(source.completed());
  FERRY_TRY(destination.completed());
  Run run;
  run.seconds = seconds_between(begin, Clock::now());
  run.send.cpu_seconds = FERRY_TRY(source.cpu()) - sent;
  run.receive.cpu_seconds = FERRY_TRY(destination.cpu()) - received;
  return run;
}

}  // namespace

Result<Run> qemu_memory(const QemuMigration& migration) {
  const ScratchFile output(migration.destination);
  Qemu destination = FERRY_TRY(Qemu::start(migration, "server", migration.destination));
  Qemu source = FERRY_TRY(Qemu::start(migration, "client", migration.source));
  for (Qemu* const qemu : {&destination, &source}) FERRY_TRY(prepare(*qemu, migration));
  const std::string port = FERRY_TRY(listen(destination));
  Run run = FERRY_TRY(measure(source, destination, port));
  FERRY_TRY(source.quit());
  FERRY_TRY(destination.quit());
  FERRY_TRY(in_a_child([&] { return expect_same_image(migration.destination, migration.source); }));
  return run;
}

}  // namespace ferry::bench
