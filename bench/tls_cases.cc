#include "bench/tls_cases.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "bench/cipher_limit.h"
#include "bench/data.h"
#include "bench/library_run.h"
#include "bench/process.h"
#include "bench/programs.h"
#include "bench/qemu_run.h"

namespace ferry::bench {
namespace {

namespace fs = std::filesystem;

// Of what two cores can do, where two channels use both of them.
constexpr double k_tls_ratio = 0.8;
constexpr double k_qemu_ratio = 2.5;

/// The cipher that both sides choose on this machine, as fast as openssl has it.
Result<CipherSpeed> negotiated_speed(const Plan& plan) {
  FERRY_TRY(find_program("openssl"));
  const Run run =
      FERRY_TRY(ferry_memory({.bytes = k_mib, .poller = plan.poller, .tls = TlsOptions{}}));
  return cipher_speed(run.cipher);
}

/// One channel leaves each core waiting for the other now and then: it gets figures, and no bar.
std::vector<Bar> bars_of(const Runs& runs, unsigned channels) {
  if (channels == 1) return {};
  return {{"ratio", ratio_of_pairs(runs), Bar::Side::at_least, k_tls_ratio}};
}

std::vector<Bar> qemu_bars_of(const Runs& runs, unsigned channels) {
  if (channels == 1) return {};
  const double cheaper =
      median_of(runs.limit, both_cpu_seconds) / median_of(runs.ferry, both_cpu_seconds);
  return {{"ratio", ratio_of_pairs(runs), Bar::Side::at_least, k_qemu_ratio},
          {"cpu_seconds_ratio", cheaper, Bar::Side::at_least, k_qemu_ratio}};
}

Result<Run> limited(Result<Run> bare, std::uint64_t bytes, const CipherSpeed& speed) {
  return with_cipher(FERRY_TRY(std::move(bare)), bytes, speed);
}

/// A folder with an authority and a certificate for each side, both for localhost.
class CertificateFolder {
 public:
  static Result<CertificateFolder> create(const std::string& path) {
    constexpr const char* k_script = R"(
mkdir "$1" && cd "$1" || exit 1
printf '[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE
keyUsage=keyCertSign\n[leaf]\nbasicConstraints=CA:FALSE
subjectAltName=DNS:localhost,IP:127.0.0.1\n' > config
make() {
  name=$1; shift
  openssl req -x509 -config config -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
    -subj "/CN=$name" -keyout "$name-key.pem" -out "$name-cert.pem" "$@" 2>/dev/null || exit 1
}
make ca -extensions ca
for side in server client; do make $side -extensions leaf -CA ca-cert.pem -CAkey ca-key.pem; done
)";
    CertificateFolder folder(path);
    Process shell = FERRY_TRY(Process::start({"/bin/sh", "-c", k_script, "sh", path}));
    FERRY_TRY(shell.wait());
    return folder;
  }
  CertificateFolder(CertificateFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  CertificateFolder& operator=(CertificateFolder&&) = delete;
  ~CertificateFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  const std::string& path() const noexcept { return path_; }

 private:
  explicit CertificateFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace

Result<void> memory_tls(const Plan& plan, const Report& report) {
  const Result<CipherSpeed> speed = negotiated_speed(plan);
  if (!speed) return say_skipped("memory-tls", speed.error()), Result<void>();
  for (const unsigned channels : plan.channels) {
    const Transfer transfer{
        .bytes = plan.bytes, .channels = channels, .poller = plan.poller, .tls = TlsOptions{}};
    Runs runs = FERRY_TRY(in_pairs(
        plan.repeats, [&] { return ferry_memory(transfer); },
        [&] { return limited(bare_memory(transfer), plan.bytes, *speed); }));
    std::vector<Bar> bars = bars_of(runs, channels);
    report({"memory-tls", "two cores: bare limit and cipher", plan.bytes, channels, std::move(runs),
            std::move(bars)});
  }
  return {};
}

Result<void> image_tls(const Plan& plan, const Report& report) {
  const Result<CipherSpeed> speed = negotiated_speed(plan);
  if (!speed) return say_skipped("image-tls", speed.error()), Result<void>();
  const ScratchFile image(scratch_path(plan, "random.img"));
  FERRY_TRY(in_a_child([&] { return make_random_image(image.path(), plan.bytes); }));
  for (const unsigned channels : plan.channels) {
    const ImageTransfer transfer{image.path(), scratch_path(plan, "out.img"), plan.bytes, channels,
                                 "tls"};
    Runs runs = FERRY_TRY(in_pairs(
        plan.repeats, [&] { return ferry_image(plan.commands, transfer); },
        [&] { return limited(bare_image(plan.commands, transfer), plan.bytes, *speed); }));
    std::vector<Bar> bars = bars_of(runs, channels);
    report({"image-tls", "two cores: bare limit and cipher", plan.bytes, channels, std::move(runs),
            std::move(bars)});
  }
  return {};
}

Result<void> memory_qemu(const Plan& plan, const Report& report) {
  const Result<std::string> program = find_program(plan.qemu);
  if (!program) return say_skipped("memory-qemu", program.error()), Result<void>();
  const CertificateFolder certificates =
      FERRY_TRY(CertificateFolder::create(scratch_path(plan, "certificates")));
  const ScratchFile image(scratch_path(plan, "random.img"));
  FERRY_TRY(in_a_child([&] { return make_random_image(image.path(), plan.bytes); }));
  for (const unsigned channels : plan.channels) {
    Transfer transfer{.bytes = plan.bytes, .channels = channels, .poller = plan.poller};
    transfer.tls.emplace().folder = certificates.path();
    const QemuMigration peer{*program,     certificates.path(),
                             image.path(), scratch_path(plan, "out"),
                             plan.bytes,   channels};
    Runs runs = FERRY_TRY(in_pairs(
        plan.repeats, [&] { return ferry_memory(transfer); }, [&] { return qemu_memory(peer); }));
    std::vector<Bar> bars = qemu_bars_of(runs, channels);
    report({"memory-qemu", "QEMU's multifd in TLS", plan.bytes, channels, std::move(runs),
            std::move(bars)});
  }
  return {};
}

}  // namespace ferry::bench
