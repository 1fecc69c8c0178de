// Encrypted transfers, and everybody who is to be kept out of them.
#include <sys/socket.h>

#include "ferry/uri.h"
#include "tests/e2e/certificates.h"
#include "tests/e2e/relay.h"
#include "tests/e2e/scene.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::string k_at = "tls://127.0.0.1:0";
const std::string k_key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

std::string key_in(const std::string& uri) {
  const Result<Uri> parsed = Uri::parse(uri);
  return parsed && parsed->query.contains("key") ? parsed->query.at("key") : "";
}

class Tls : public EndToEnd {
 protected:
  /// Both sides say no, in one line each, with these words in it.
  void expect_no(Receiver& receiver, Process& sender, const std::string& receiver_says,
                 const std::string& sender_says) {
    EXPECT_EQ(sender.wait(), 4) << sender.err();
    EXPECT_EQ(receiver.process.wait(), 4) << receiver.process.err();
    EXPECT_THAT(sender.err(), HasSubstr(sender_says));
    EXPECT_THAT(receiver.process.err(), HasSubstr(receiver_says));
    EXPECT_EQ(lines_of(sender.err()).size(), 1u) << sender.err();
    EXPECT_THAT(output_.names(), IsEmpty());
  }

  const std::string image_ = random_image("a.img", 3 * k_mib + 5);
};

TEST_F(Tls, AFreshKeyIsInTheAddressAndInTheLineToPaste) {
  Receiver receiver({"-o", output_ / "out.img", k_at});
  const std::string key = key_in(receiver.uri);
  EXPECT_EQ(key.size(), 43u);
  Process sender = migrate_send({image_, receiver.uri, "--log-level", "trace", "--channels", "3"});
  EXPECT_EQ(sender.wait(), 0) << sender.err();
  EXPECT_EQ(receiver.process.wait(), 0) << receiver.process.err();
  expect_same(image_, output_ / "out.img");
  EXPECT_THAT(receiver.process.err(), HasSubstr("migrate-send IMAGE '" + receiver.uri + "'\n"));
  EXPECT_THAT(sender.out() + sender.err(), Not(HasSubstr(key)));
  EXPECT_THAT(sender.out(), HasSubstr(", encrypted"));
  EXPECT_THAT(sender.err() + receiver.process.err(), Not(HasSubstr("not encrypted")));
}

TEST_F(Tls, IsWhatAReceiverSpeaksThatWasToldNothing) {
  Process receiver({MIGRATE_RECV, "-o", output_ / "out.img"});
  receiver.read_until(receiver.out(), [](const std::string& text) { return text.contains('\n'); });
  if (receiver.out().empty()) GTEST_SKIP() << "port 4446 is taken: " << receiver.err();
  EXPECT_THAT(receiver.out(), testing::StartsWith("listening on tls://127.0.0.1:4446?key="));
  EXPECT_THAT(receiver.out() + receiver.err(), Not(HasSubstr("not encrypted")));
}

TEST_F(Tls, EveryReceiverHasAKeyOfItsOwn) {
  Receiver one({"-o", output_ / "one.img", k_at});
  Receiver other({"-o", output_ / "other.img", k_at});
  EXPECT_NE(key_in(one.uri), key_in(other.uri));
}

TEST_F(Tls, AKeyInAFileStandsInNoAddress) {
  write_file(source_ / "key", k_key + "\n");
  Receiver receiver({"-o", output_ / "out.img", k_at, "--key-file", source_ / "key"});
  EXPECT_THAT(receiver.uri, Not(HasSubstr("key=")));
  Process sender({"/bin/sh", "-c", R"(exec "$1" "$2" "$3" --key-file - < "$4")", "sh", MIGRATE_SEND,
                  image_, receiver.uri, source_ / "key"});
  EXPECT_EQ(sender.wait(), 0) << sender.err();
  EXPECT_EQ(receiver.process.wait(), 0) << receiver.process.err();
  expect_same(image_, output_ / "out.img");
}

TEST_F(Tls, AWrongKeyIsToldOnBothSides) {
  Receiver receiver({"-o", output_ / "out.img", k_at});
  const std::string port = std::to_string(receiver.port());
  Process sender = migrate_send({image_, "tls://127.0.0.1:" + port + "?key=" + k_key});
  expect_no(receiver, sender, "wrong key", "wrong key");
  EXPECT_THAT(sender.err(), Not(HasSubstr(k_key)));
}

TEST_F(Tls, AnErrorNeverRepeatsAKey) {
  const std::string key = "?key=" + k_key;
  for (const std::string& uri :
       Words{"tls://127.0.0.1:1" + key, "tcp://127.0.0.1:1" + key, "tls://no such host" + key,
             "tls://host:port" + key, "tls://127.0.0.1" + key + "&key=" + k_key,
             "tls://127.0.0.1" + key + "&more=1", "tls://127.0.0.1" + key + "00"}) {
    Process sender = migrate_send({image_, uri, "--timeout", "5"});
    EXPECT_NE(sender.wait(), 0);
    EXPECT_THAT(sender.err(), Not(HasSubstr(k_key))) << uri;
    EXPECT_EQ(lines_of(sender.err()).size(), 1u) << sender.err();
  }
}

TEST_F(Tls, ASenderWithoutAKeyIsToldHowToGetOne) {
  Process sender = migrate_send({image_, "tls://127.0.0.1:1"});
  EXPECT_EQ(sender.wait(), 2);
  EXPECT_THAT(sender.err(), HasSubstr("neither a key nor certificates"));
}

TEST_F(Tls, AStrangerWhoSpeaksNoTlsOrNothingHarmsNothing) {
  Receiver receiver({"-o", output_ / "out.img", k_at});
  const UniqueFd silent = connect_to(receiver.port());
  Process plain = migrate_send({image_, "tcp://127.0.0.1:" + std::to_string(receiver.port())});
  EXPECT_EQ(plain.wait(), 7) << plain.err();
  Process sender = migrate_send({image_, receiver.uri});
  EXPECT_EQ(sender.wait(), 0) << sender.err();
  EXPECT_EQ(receiver.process.wait(), 0) << receiver.process.err();
  expect_same(image_, output_ / "out.img");
}

TEST_F(Tls, WhoSpeaksHttpOrLeavesAtOnceHarmsNothing) {
  Receiver receiver({"-o", output_ / "out.img", k_at});
  connect_to(receiver.port()).reset();
  const UniqueFd browser = connect_to(receiver.port());
  const std::string_view request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
  ASSERT_EQ(::send(browser.get(), request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<::ssize_t>(request.size()));
  char word = 0;
  while (::recv(browser.get(), &word, 1, 0) > 0) {  // until it is sent away
  }
  Process sender = migrate_send({image_, receiver.uri});
  EXPECT_EQ(sender.wait(), 0) << sender.err();
  EXPECT_EQ(receiver.process.wait(), 0) << receiver.process.err();
  expect_same(image_, output_ / "out.img");
}

TEST_F(Tls, TheKernelIsAskedAndTheReportSaysWhoEncrypts) {
  Receiver receiver({"-o", output_ / "out.img", k_at, "--ktls"});
  Process sender = migrate_send({image_, receiver.uri, "--ktls"});
  EXPECT_EQ(sender.wait(), 0) << sender.err();
  EXPECT_EQ(receiver.process.wait(), 0) << receiver.process.err();
  expect_same(image_, output_ / "out.img");
  const bool the_kernel_did = sender.out().contains("encrypted by the kernel");
  EXPECT_NE(sender.err().contains("no kernel TLS"), the_kernel_did) << sender.err();
}

TEST_F(Tls, AKeyIsNothingForTls12) {
  Process receiver({MIGRATE_RECV, "-o", output_ / "out.img", k_at, "--tls-version", "1.2"});
  EXPECT_EQ(receiver.wait(), 2);
  EXPECT_THAT(receiver.err(), HasSubstr("a key needs TLS 1.3"));
}

TEST_F(Tls, ALineThatIsCutInTheMiddleIsAFailureOnBothSides) {
  const std::string image = random_image("b.img", 96 * k_mib);
  Receiver receiver({"-o", output_ / "out.img", k_at});
  {
    HoldingRelay relay(receiver.port(), 4 * k_mib);
    const Uri through = Uri::parse(relay.uri()).value();
    Uri uri = Uri::parse(receiver.uri).value();
    uri.port = through.port;
    Process sender = migrate_send({image, uri.text()});
    ASSERT_TRUE(relay.wait_until_held());
    sender.signal(SIGKILL);
    EXPECT_EQ(sender.wait(), -SIGKILL);
  }
  EXPECT_EQ(receiver.process.wait(), 7) << receiver.process.err();
  EXPECT_THAT(output_.names(), IsEmpty());
}

class TlsWithoutExtendedMasterSecret : public Tls {
 protected:
  TlsWithoutExtendedMasterSecret() {
    Certificates::fill(folder_, "server", "client");
    write_file(folder_ / "openssl.cnf",
               "openssl_conf = main\n[main]\nssl_conf = ssl\n[ssl]\nsystem_default = rules\n"
               "[rules]\nOptions = -ExtendedMasterSecret\n");
  }

  TempFolder folder_;
};

struct Credentials {
  std::string name;
  std::string server = "server";
  std::string client = "client";
  std::string revoked_at_receiver{};
  std::string revoked_at_sender{};
  Words receiver_options{};
  Words sender_options{};
  std::string receiver_says{};  // empty: they are good
  std::string sender_says{};
  friend void PrintTo(const Credentials& test, std::ostream* out) { *out << test.name; }
};

class TlsCertificates : public Tls, public testing::WithParamInterface<Credentials> {
 protected:
  TlsCertificates() {
    const Credentials& test = GetParam();
    Certificates::fill(receiver_folder_, test.server, "");
    Certificates::fill(sender_folder_, "", test.client);
    revoke(receiver_folder_, test.revoked_at_receiver);
    revoke(sender_folder_, test.revoked_at_sender);
  }
  static void revoke(const TempFolder& folder, const std::string& who) {
    if (who.empty()) return;
    fs::copy_file(Certificates::all() / ("revoked-" + who + ".pem"), folder / "ca-crl.pem");
  }
  static Words with(Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  TempFolder receiver_folder_;
  TempFolder sender_folder_;
};

TEST_P(TlsCertificates, DecideWhoMaySendToWhom) {
  const Credentials& test = GetParam();
  Receiver receiver(with({"-o", output_ / "out.img", k_at, "--tls-dir", receiver_folder_.path()},
                         test.receiver_options));
  EXPECT_THAT(receiver.uri, Not(HasSubstr("key=")));
  Process sender = migrate_send(
      with({image_, receiver.uri, "--tls-dir", sender_folder_.path()}, test.sender_options));
  if (!test.receiver_says.empty()) {
    expect_no(receiver, sender, test.receiver_says, test.sender_says);
    return;
  }
  EXPECT_EQ(sender.wait(), 0) << sender.err();
  EXPECT_EQ(receiver.process.wait(), 0) << receiver.process.err();
  expect_same(image_, output_ / "out.img");
}

INSTANTIATE_TEST_SUITE_P(
    Who, TlsCertificates,
    testing::Values(
        Credentials{.name = "WhoHasOne"},
        Credentials{.name = "WhoIsAuthorized",
                    .receiver_options = {"--tls-authz", "CN=other; CN=node?,O=Example"}},
        Credentials{.name = "WhoSpeaksTls12AsAsked",
                    .receiver_options = {"--tls-version", "1.2"},
                    .sender_options = {"--tls-version", "1.2"}},
        Credentials{.name = "NobodyWhoSpeaksTls12Unasked",
                    .sender_options = {"--tls-version", "1.2"},
                    .receiver_says = "it does not speak TLS 1.3",
                    .sender_says = "it does not speak TLS 1.2"},
        Credentials{.name = "NobodyWhoSpeaksTls13WhereTls12WasAskedFor",
                    .receiver_options = {"--tls-version", "1.2"},
                    .receiver_says = "it does not speak TLS 1.2",
                    .sender_says = "it does not speak TLS 1.3"},
        Credentials{.name = "NobodyUnauthorizedWithTls12",
                    .receiver_options = {"--tls-version", "1.2", "--tls-authz", "CN=other"},
                    .sender_options = {"--tls-version", "1.2"},
                    .receiver_says = "subject is not authorized",
                    .sender_says = "may not authorize"},
        Credentials{.name = "WhoIsNotRevoked",
                    .revoked_at_receiver = "server",
                    .revoked_at_sender = "client"},
        Credentials{.name = "AReceiverUnderAnotherName",
                    .server = "elsewhere",
                    .sender_options = {"--tls-hostname", "another.example"}},
        Credentials{.name = "NobodyWhoIsNotAuthorized",
                    .receiver_options = {"--tls-authz", "CN=other;CN=node8*"},
                    .receiver_says = "subject is not authorized",
                    .sender_says = "may not authorize"},
        Credentials{.name = "NobodyWhoHasNone",
                    .client = "",
                    .receiver_says = "it has no client certificate",
                    .sender_says = "we have no client certificate"},
        Credentials{.name = "NobodyWhoseCertificateHasExpired",
                    .client = "old",
                    .receiver_says = "its certificate has expired",
                    .sender_says = "our certificate has expired"},
        Credentials{.name = "NobodyWhoseCertificateWasRevoked",
                    .revoked_at_receiver = "client",
                    .receiver_says = "its certificate was revoked",
                    .sender_says = "our certificate was revoked"},
        Credentials{.name = "NobodyOfAnotherAuthority",
                    .client = "stranger",
                    .receiver_says = "from an unknown authority",
                    .sender_says = "an authority that it does not know"},
        Credentials{.name = "NoReceiverOfAnotherName",
                    .server = "elsewhere",
                    .receiver_says = "for another name",
                    .sender_says = "its certificate is for another name"},
        Credentials{.name = "NoReceiverThatIsNotWhoWasMeant",
                    .sender_options = {"--tls-hostname", "another.example"},
                    .receiver_says = "for another name",
                    .sender_says = "its certificate is for another name"},
        Credentials{.name = "NoReceiverWhoseCertificateHasExpired",
                    .server = "old",
                    .receiver_says = "our certificate has expired",
                    .sender_says = "its certificate has expired"},
        Credentials{.name = "NoReceiverWhoseCertificateWasRevoked",
                    .revoked_at_sender = "server",
                    .receiver_says = "our certificate was revoked",
                    .sender_says = "its certificate was revoked"},
        Credentials{.name = "NoReceiverOfAnotherAuthority",
                    .server = "stranger",
                    .receiver_says = "an authority that it does not know",
                    .sender_says = "from an unknown authority"}),
    [](const auto& test) { return test.param.name; });

/// A system-wide rule that a host may have: OpenSSL reads it from the file that OPENSSL_CONF names.
TEST_F(TlsWithoutExtendedMasterSecret, IsNoWayToBindAChannelAndIsRefused) {
  Receiver receiver(
      {"-o", output_ / "out.img", k_at, "--tls-dir", folder_.path(), "--tls-version", "1.2"});
  Process sender({"/usr/bin/env", "OPENSSL_CONF=" + (folder_ / "openssl.cnf").string(),
                  MIGRATE_SEND, image_, receiver.uri, "--tls-dir", folder_.path(), "--tls-version",
                  "1.2"});
  EXPECT_EQ(sender.wait(), 4) << sender.err();
  EXPECT_EQ(receiver.process.wait(), 4) << receiver.process.err();
  EXPECT_THAT(receiver.process.err(), HasSubstr("has no extended master secret"));
  EXPECT_THAT(output_.names(), IsEmpty());
}

TEST_F(Tls, AFolderThatLacksSomethingIsNamed) {
  const TempFolder folder;
  Process receiver({MIGRATE_RECV, "-o", output_ / "out.img", k_at, "--tls-dir", folder.path()});
  EXPECT_EQ(receiver.wait(), 2);
  EXPECT_THAT(receiver.err(), HasSubstr("ca-cert.pem"));
}

TEST_F(Tls, AKeyUnderQemusNameWillDo) {
  const TempFolder folder;
  write_file(folder / "keys.psk", "qemu:" + k_key + "\n");
  transfer({image_}, output_ / "out.img", {"--tls-dir", folder.path()},
           {"--tls-dir", folder.path()}, k_at);
  expect_same(image_, output_ / "out.img");
}

}  // namespace
}  // namespace ferry
