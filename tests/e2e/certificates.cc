#include "tests/e2e/certificates.h"

#include "tests/e2e/process.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;

constexpr const char* k_script = R"(
set -e
cd "$1"
new() { openssl req "$@" -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes; }
authority() { new -x509 -keyout "$1-key.pem" -out "$1-cert.pem" -subj "/CN=$1" -days 30; }
issue() {  # AUTHORITY NAME SUBJECT DAYS ALTERNATIVE-NAME
  new -keyout "$2-key.pem" -out request.pem -subj "$3"
  echo "subjectAltName=$5" > names
  openssl x509 -req -in request.pem -CA "$1-cert.pem" -CAkey "$1-key.pem" -CAcreateserial \
    -out "$2-cert.pem" -days "$4" -extfile names
}
revoke() {
  printf '[ca]\ndefault_ca=own\n[own]\ndatabase=index\ndefault_md=sha256\ndefault_crl_days=9\n' \
    > config
  : > index
  ca() { openssl ca -config config -keyfile ca-key.pem -cert ca-cert.pem "$@"; }
  ca -revoke "$1-cert.pem"
  ca -gencrl -out "revoked-$1.pem"
}
authority ca
authority other
issue ca server /CN=receiver 30 IP:127.0.0.1
issue ca client /O=Example/CN=node7 30 DNS:node7
issue ca elsewhere /CN=another.example 30 DNS:another.example
issue ca old /CN=old -1 IP:127.0.0.1
issue other stranger /CN=stranger 30 IP:127.0.0.1
revoke server
revoke client
)";

}  // namespace

const fs::path& Certificates::all() {
  static const TempFolder k_folder;
  static const bool k_made = [] {
    Process openssl({"/bin/sh", "-c", k_script, "sh", k_folder.path()});
    EXPECT_EQ(openssl.wait(), 0) << openssl.err();
    return true;
  }();
  (void)k_made;
  return k_folder.path();
}

void Certificates::fill(const TempFolder& folder, const std::string& server,
                        const std::string& client) {
  fs::copy_file(all() / "ca-cert.pem", folder / "ca-cert.pem");
  const auto copy = [&](const std::string& from, const std::string& to) {
    if (from.empty()) return;
    for (const char* part : {"-cert.pem", "-key.pem"}) {
      fs::copy_file(all() / (from + part), folder / (to + part));
    }
  };
  copy(server, "server");
  copy(client, "client");
}

}  // namespace ferry
