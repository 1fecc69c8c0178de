#include "console/tls_options.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "base/escape.h"
#include "ferry/unique_fd.h"

namespace ferry {
namespace {

constexpr std::size_t k_max_key_file_bytes = 1024;
constexpr std::string_view k_blanks = " \t\r\n";

std::string trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(k_blanks);
  if (begin == text.npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(k_blanks) - begin + 1));
}

/// To the end of the first line, or of the file: a terminal need not be told the end.
Result<std::string> first_line(int fd, const std::string& name) {
  std::string text;
  while (text.size() < k_max_key_file_bytes && !text.contains('\n')) {
    std::array<char, 128> piece{};
    const ssize_t got = ::read(fd, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_sys(Errc::system, errno, "read the key in " + name);
    if (got == 0) break;
    text.append(piece.data(), static_cast<std::size_t>(got));
  }
  return trimmed(text.substr(0, text.find('\n')));
}

Result<std::string> read_key(const std::string& path) {
  std::string key;
  if (path == "-") {
    key = FERRY_TRY(first_line(STDIN_FILENO, "standard input"));
  } else {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return fail_sys(Errc::system, errno, "open the key file " + in_quotes(path));
    key = FERRY_TRY(first_line(file.get(), in_quotes(path)));
  }
  if (!key.empty()) return key;
  return fail(Errc::usage, "--key-file " + in_quotes(path) + ": there is no key in it");
}

/// Separated by semicolons: a subject has commas.
std::vector<std::string> patterns_in(std::string_view list) {
  std::vector<std::string> patterns;
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(';'), list.size());
    if (std::string pattern = trimmed(list.substr(0, end)); !pattern.empty()) {
      patterns.push_back(std::move(pattern));
    }
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return patterns;
}

}  // namespace

std::vector<OptionSpec> with_tls_options(TlsRole role, std::vector<OptionSpec> own) {
  own.push_back(
      {"key-file", 0, "PATH", "the TLS key, rather than in the URI; - is standard input"});
  own.push_back({"tls-dir", 0, "DIR", "certificates for TLS, under QEMU's file names"});
  own.push_back(
      {"tls-version", 0, "VERSION", "1.3 (default), or 1.2 with certificates; nothing else"});
  own.push_back({"ktls", 0, "", "let the kernel encrypt what is sent, where it can"});
  if (role == TlsRole::sender) {
    own.push_back({"tls-hostname", 0, "NAME", "whom the receiver's certificate must name"});
  } else {
    own.push_back({"tls-authz", 0, "SUBJECTS", "who may send: CN=node*,O=Example;..."});
  }
  return own;
}

Result<TlsOptions> tls_options(const CommandLine& line) {
  TlsOptions options;
  options.folder = line.text("tls-dir").value_or("");
  options.hostname = line.text("tls-hostname").value_or("");
  if (const auto path = line.text("key-file")) {
    if (!options.folder.empty()) {
      return fail(Errc::usage, "--key-file and --tls-dir: one or the other proves who we are");
    }
    options.key = FERRY_TRY(read_key(*path));
  }
  if (const auto version = line.text("tls-version")) {
    if (*version != "1.2" && *version != "1.3") {
      return fail(Errc::usage, "--tls-version " + in_quotes(*version) + ": it is 1.3 or 1.2");
    }
    if (*version == "1.2") options.version = TlsVersion::v1_2;
  }
  if (line.has("ktls")) options.records = TlsRecords::kernel;
  if (const auto list = line.text("tls-authz")) {
    options.authorized = patterns_in(*list);
    if (options.authorized.empty() || options.folder.empty()) {
      return fail(Errc::usage, "--tls-authz " + in_quotes(*list) + ": nobody to authorize",
                  "it names subjects of certificates, and needs --tls-dir");
    }
  }
  return options;
}

std::string not_encrypted_text(const ChannelInfo& line) {
  if (line.within_host) return {};
  if (!line.encrypted) {
    return line.scheme + " is not encrypted: use it on networks that you trust";
  }
  if (!line.pages_in_clear) return {};
  return line.scheme +
         " encrypts all but the pages: who is on the way can read and change memory, so use it on "
         "networks that you trust";
}

}  // namespace ferry
