#include "bench/qemu_run.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "bench/data.h"
#include "bench/process.h"
#include "ferry/unique_fd.h"

namespace ferry::bench {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds k_patience{60};

/// A QEMU, and the line over which it is told what to do (QMP).
class Qemu {
 public:
  /// `more` are arguments besides those for `bytes` of memory, which are the file `memory`.
  static Result<Qemu> start(const std::string& program, const std::string& memory,
                            std::uint64_t bytes, const std::vector<std::string>& more) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
      return fail_sys(Errc::system, errno, "make a line to QEMU");
    }
    UniqueFd ours(ends[0]);
    const UniqueFd theirs(ends[1]);
    ::fcntl(theirs.get(), F_SETFD, 0);  // it inherits this one
    std::vector<std::string> argv{
        program,
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
        fmt::format("{}M", bytes / k_mib),
        "-object",
        fmt::format("memory-backend-file,id=memory,size={},mem-path={},share=on,prealloc=on", bytes,
                    memory),
        "-chardev",
        fmt::format("socket,id=qmp,fd={}", theirs.get()),
        "-mon",
        "chardev=qmp,mode=control"};
    argv.insert(argv.end(), more.begin(), more.end());
    const timeval patience{.tv_sec = k_patience.count(), .tv_usec = 0};
    ::setsockopt(ours.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    Process process = FERRY_TRY(Process::start(argv));
    Qemu qemu(std::move(process), std::move(ours));
    FERRY_TRY(qemu.read());  // its greeting
    FERRY_TRY(qemu.execute("qmp_capabilities"));
    return qemu;
  }

  /// What the command answers; events that come before it are left out. A descriptor, borrowed,
  /// goes with it, unless it is -1.
  Result<json> execute(const std::string& command, const json& arguments = json::object(),
                       int fd = -1) {
    const std::string text = json{{"execute", command}, {"arguments", arguments}}.dump() + "\n";
    FERRY_TRY(say(text, fd));
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

  /// A command is short: it fits into the socket at once.
  Result<void> say(std::string text, int fd) {
    iovec bytes{text.data(), text.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> room{};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    if (fd >= 0) {
      message.msg_control = room.data();
      message.msg_controllen = room.size();
      cmsghdr* const header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof fd);
      std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    if (::sendmsg(socket_.get(), &message, MSG_NOSIGNAL) == static_cast<ssize_t>(text.size())) {
      return {};
    }
    return fail_sys(Errc::disconnected, errno, "speak to QEMU");
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

constexpr std::uint64_t k_no_bound = std::uint64_t{1} << 40;  // bytes a second

/// One side of a migration; what is `more` belongs to this side alone.
Result<Qemu> start_side(const QemuMigration& migration, const std::string& role,
                        const std::string& memory, std::vector<std::string> more) {
  if (!migration.certificates.empty()) {
    more.insert(more.end(),
                {"-object", fmt::format("tls-creds-x509,id=tls,endpoint={},dir={},verify-peer=on,"
                                        "priority=NORMAL:-CIPHER-ALL:+AES-128-GCM",
                                        role, migration.certificates)});
  }
  return Qemu::start(migration.program, memory, migration.bytes, more);
}

Result<void> prepare(Qemu& qemu, const QemuMigration& migration) {
  json capabilities = json::array();
  for (const char* name : {"multifd", "events"}) {
    capabilities.push_back({{"capability", name}, {"state", true}});
  }
  FERRY_TRY(qemu.execute("migrate-set-capabilities", {{"capabilities", capabilities}}));
  json parameters{{"multifd-channels", migration.channels}, {"max-bandwidth", k_no_bound}};
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
  Qemu destination =
      FERRY_TRY(start_side(migration, "server", migration.destination, {"-incoming", "defer"}));
  Qemu source = FERRY_TRY(start_side(migration, "client", migration.source, {}));
  for (Qemu* const qemu : {&destination, &source}) FERRY_TRY(prepare(*qemu, migration));
  const std::string port = FERRY_TRY(listen(destination));
  Run run = FERRY_TRY(measure(source, destination, port));
  FERRY_TRY(source.quit());
  FERRY_TRY(destination.quit());
  FERRY_TRY(in_a_child([&] { return expect_same_image(migration.destination, migration.source); }));
  return run;
}

Result<Run> qemu_snapshot(const QemuSnapshot& snapshot) {
  Qemu qemu = FERRY_TRY(Qemu::start(snapshot.program, snapshot.memory, snapshot.bytes, {}));
  FERRY_TRY(
      qemu.execute("migrate-set-capabilities",
                   {{"capabilities", json::array({{{"capability", "events"}, {"state", true}}})}}));
  FERRY_TRY(qemu.execute("migrate-set-parameters", {{"max-bandwidth", k_no_bound}}));
  const UniqueFd file(
      ::open(snapshot.output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file) return fail_sys(Errc::system, errno, "open " + snapshot.output);
  FERRY_TRY(qemu.execute("getfd", {{"fdname", "file"}}, file.get()));
  // It has touched every page of its memory, which is a file, for writing.
  FERRY_TRY(settle(snapshot.memory));
  const double before = FERRY_TRY(qemu.cpu());
  const Clock::time_point begin = Clock::now();
  FERRY_TRY(qemu.execute("migrate", {{"uri", "fd:file"}}));
  FERRY_TRY(qemu.completed());
  const Usage unsynced = usage_so_far();
  if (::fsync(file.get()) != 0) return fail_sys(Errc::system, errno, "sync " + snapshot.output);
  Run run;
  run.seconds = seconds_between(begin, Clock::now());
  run.send.cpu_seconds = FERRY_TRY(qemu.cpu()) - before + (usage_so_far() - unsynced).cpu_seconds;
  FERRY_TRY(qemu.quit());
  return run;
}

}  // namespace ferry::bench
