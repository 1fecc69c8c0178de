// make_seeds FOLDER: writes the corpora that the fuzz targets begin with, FOLDER/<target>/<seed>,
// out of Ferry's own encodings. Run again when the wire has learned something new.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>

#include "base/checksum.h"
#include "tests/fuzz/session_script.h"
#include "wire/control.h"
#include "wire/hello.h"
#include "wire/image_format.h"
#include "wire/packet.h"

namespace ferry::fuzz {
namespace {

namespace fs = std::filesystem;

/// One target's folder.
class Corpus {
 public:
  Corpus(const fs::path& all, std::string_view target) : folder_(all / target) {
    fs::create_directories(folder_);
  }
  void add(std::string_view name, std::span<const std::byte> bytes) const {
    std::ofstream file(folder_ / name, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    if (file.good()) return;
    std::fprintf(stderr, "cannot write %s\n", (folder_ / name).c_str());
    std::exit(1);
  }
  void add(std::string_view name, std::string_view text) const {
    add(name, std::as_bytes(std::span(text)));
  }

 private:
  fs::path folder_;
};

wire::SessionId some_session() {
  wire::SessionId id;
  id.fill(std::byte{0x5e});
  return id;
}

wire::Hello hello_of(wire::Role role, std::uint16_t index = 0) {
  return {.session = some_session(), .role = role, .index = index};
}

/// Of a section that is one piece.
std::uint64_t state_checksum(std::span<const std::byte> piece) { return chain(0, xxh3_64(piece)); }

/// A message with extensions behind its fields, which no version writes yet.
Bytes with_extension(Bytes message, std::uint16_t type) {
  Bytes extension;
  ByteWriter out(extension);
  out.u16(type);
  out.u16(3);
  out.bytes(Bytes(3, std::byte{7}));
  message.insert(message.end() - wire::k_checksum_bytes, extension.begin(), extension.end());
  return sealed(std::move(message));
}

void make_hellos(const fs::path& all) {
  const Corpus corpus(all, "hello");
  corpus.add("control", wire::encode(hello_of(wire::Role::control)));
  corpus.add("page", wire::encode(hello_of(wire::Role::page, 254)));
  corpus.add("urgent", wire::encode(hello_of(wire::Role::urgent)));
  corpus.add("solo", wire::encode(hello_of(wire::Role::solo)));
  wire::Hello other = hello_of(wire::Role::control);
  other.version_max = 7;
  other.critical_features = 1;
  other.optional_features = 2;
  other.path_id = 3;
  other.proof.fill(std::byte{9});
  corpus.add("later-version", wire::encode(other));
  corpus.add("optional-extension", with_extension(wire::encode(other), 1));
  corpus.add("critical-extension",
             with_extension(wire::encode(other), wire::k_critical_extension | 1));
}

void make_hello_acks(const fs::path& all) {
  const Corpus corpus(all, "hello_ack");
  for (const unsigned verdict : {0u, 1u, 2u, 3u, 4u, 5u, 6u, 7u, 99u}) {
    wire::HelloAck ack{.verdict = static_cast<wire::HelloAck::Verdict>(verdict),
                       .session = some_session()};
    if (verdict != 0) ack.reason = "no, f\xc3\xbcr verdict " + std::to_string(verdict) + "\n";
    corpus.add("verdict-" + std::to_string(verdict), wire::encode(ack));
  }
  const wire::HelloAck accepted{.session = some_session()};
  corpus.add("optional-extension", with_extension(wire::encode(accepted), 1));
  corpus.add("critical-extension",
             with_extension(wire::encode(accepted), wire::k_critical_extension | 1));
}

const Layout k_layout{{{.name = "ram", .guest_address = 1 << 20, .length = 3 * k_unit_bytes},
                       {.name = "rom", .page_size = 1 << 21, .length = 100}}};
const PageRun k_run{.region = 0, .offset = k_unit_bytes, .length = 2 * k_unit_bytes};
const wire::Transcript k_transcript{{{1, 2, 3, 4}, {5, 6, 7, 8}}};
constexpr OwnerToken k_token{{std::byte{1}, std::byte{2}}};

std::vector<std::pair<std::string, wire::ControlFrame>> all_frames() {
  wire::Digest digest;
  digest.fill(std::byte{0xd1});
  return {
      {"layout", wire::LayoutFrame{k_layout}},
      {"layout-empty", wire::LayoutFrame{}},
      {"layout-ack", wire::LayoutAck{}},
      {"add-channels", wire::AddChannels{0, 2}},
      {"channels-ack", wire::ChannelsAck{0, 255}},
      {"round-ack", wire::RoundAck{7}},
      {"nak", wire::Nak{.lane = 1, .sequence = 12, .runs = {k_run}}},
      {"suspects", wire::Suspects{{k_run, {1, 0, 100}}}},
      {"suspects-none", wire::Suspects{}},
      {"heartbeat", wire::Heartbeat{1 << 20, 77, wire::Heartbeat::Phase::switchover}},
      {"prepare", wire::Prepare{k_transcript, {digest, digest}}},
      {"prepare-without-digests", wire::Prepare{k_transcript, {}}},
      {"ready", wire::Ready{k_transcript, 4, 0}},
      {"commit", wire::Commit{k_transcript, k_token}},
      {"started", wire::Started{k_token}},
      {"abort", wire::Abort{Errc::integrity, "damage in 'ram'\x1b[0m"}},
      {"state-section", wire::StateSectionFrame{"vcpu0", 3}},
      {"state-piece", wire::StatePiece{Bytes(7, std::byte{1})}},
      {"state-end", wire::StateEnd{7, state_checksum(Bytes(7, std::byte{1}))}},
      {"state-ack", wire::StateAck{1, 12}},
      {"replace-channel", wire::ReplaceChannel{1}},
      {"lane-times", wire::LaneTimesFrame{1, 2, 3, 4, 5, 6}},
  };
}

void make_control_frames(const fs::path& all) {
  const Corpus corpus(all, "control");
  for (const auto& [name, frame] : all_frames()) corpus.add(name, wire::encode(frame));
  Bytes unknown = wire::encode(wire::LayoutAck{});
  unknown[wire::k_prologue_bytes + 1] = std::byte{wire::k_optional_frame >> 8};
  corpus.add("unknown-optional", sealed(unknown));
  unknown[wire::k_prologue_bytes + 1] = std::byte{1};
  corpus.add("unknown-critical", sealed(unknown));
}

/// A packet of one region: a unit of data for each in `raw`, and zeros behind them.
Bytes packet(std::uint64_t sequence, std::uint32_t flags, std::uint32_t raw_units,
             std::uint64_t zero_bytes, std::uint64_t first_unit = 0) {
  wire::PacketHeader header{.sequence = sequence, .flags = flags};
  Bytes payload;
  if (raw_units > 0) {
    const auto bytes = static_cast<std::uint32_t>(raw_units * k_unit_bytes);
    header.runs.push_back({.run = {0, first_unit * k_unit_bytes, bytes}, .payload_bytes = bytes});
    payload.resize(bytes, std::byte{0xab});
    header.checksums.assign(raw_units, wire::unit_checksum(std::span(payload).first(k_unit_bytes)));
    header.payload_bytes = header.raw_bytes = bytes;
  }
  if (zero_bytes > 0) {
    const std::uint64_t offset = (first_unit + raw_units) * k_unit_bytes;
    header.runs.push_back({.run = {0, offset, zero_bytes}, .kind = wire::RunKind::zero});
  }
  Bytes bytes = wire::encode(header).bytes;
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

Bytes header_alone(const Bytes& packet) {
  const std::size_t length = wire::packet_header_length(packet).value();
  return {packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(length)};
}

void make_packets(const fs::path& all) {
  const Corpus corpus(all, "packet");
  corpus.add("raw", header_alone(packet(0, wire::k_stable, 1, 0)));
  corpus.add("zeros", header_alone(packet(1, wire::k_stable, 0, 5 * k_unit_bytes)));
  corpus.add("raw-and-zeros", header_alone(packet(2, wire::k_live, 3, 100, 9)));
  corpus.add("resend", header_alone(packet(3, wire::k_stable | wire::k_resend, 2, 0)));
  corpus.add("placed", header_alone(packet(3, wire::k_live | wire::k_placed, 2, 100)));
  corpus.add("state", header_alone(packet(4, wire::k_stable | wire::k_state, 2, 0)));
  corpus.add("end-of-round", packet(4, wire::k_end_round, 0, 0));
  Bytes optional = header_alone(packet(0, wire::k_stable, 1, 0));
  optional[16] = std::byte{1};  // the lowest of the optional flags
  corpus.add("optional-flag", sealed(optional));
}

void make_framings(const fs::path& all) {
  const Corpus corpus(all, "framing");
  corpus.add("hello", wire::encode(hello_of(wire::Role::control)));
  corpus.add("hello-ack", wire::encode(wire::HelloAck{.reason = "busy"}));
  corpus.add("control", wire::encode(wire::LayoutAck{}));
  corpus.add("packet", packet(4, wire::k_end_round, 0, 0));
  corpus.add("text", "f\xc3\xbcr \xe2\x82\xac 5 \xf0\x9f\x9a\xa2 \x1b[0m\xff");
}

/// Without the padding, which the target puts back.
Bytes first_message(const Bytes& units) {
  return {units.begin(), units.begin() + ByteReader(std::span(units).subspan(4)).u32()};
}

void make_images(const fs::path& all) {
  const Corpus corpus(all, "image");
  wire::ImageHeader header{.layout = k_layout, .units_present = 3};
  header.file_bytes = wire::plan_image(k_layout).end();
  corpus.add("header", first_message(wire::encode(header)));
  corpus.add("header-of-nothing",
             first_message(wire::encode(wire::ImageHeader{.file_bytes = 4096})));
  std::vector<wire::ImageSection> sections{{.name = "cpu", .version = 1, .length = 5000},
                                           {.name = "serial", .length = 10}};
  wire::ImageHeader none;
  wire::place_sections(sections, wire::plan_image(none.layout).end());
  corpus.add("directory", first_message(wire::encode(sections)));
  corpus.add("bitmap", Bytes(12, std::byte{0xff}));
}

void make_uris(const fs::path& all) {
  const Corpus corpus(all, "uri");
  int number = 0;
  for (const char* text :
       {"tcp://host:1", "tcp://[::1]:4446", "tcp://[fe80::1%eth0]:0", "tcp:host:7", "tcp://:0",
        "TCP://h?a=b&c=%20", "unix:///a/b%3f?x=y", "unix://@name", "unix:/path with space",
        "vsock://2:4446", "file:///var/x.img", "exec:ssh host migrate-recv", "fd:3",
        "stdio:", "rdma://h", "pigeon+x.y://roof:65535?speed=1", "wss://h:1/", "fd:007"}) {
    corpus.add("uri-" + std::to_string(number++), text);
  }
}

/// What a peer says until all page channels are announced and greeted.
std::vector<Step> greeting(std::uint16_t lanes) {
  std::vector<Step> steps = {
      {0, wire::encode(hello_of(wire::Role::control))},
      {0, wire::encode(wire::LayoutFrame{{{{.name = "ram", .length = 2 * k_unit_bytes + 100}}}})},
      {0, wire::encode(wire::AddChannels{0, lanes})}};
  for (std::uint16_t lane = 0; lane < lanes; ++lane) {
    steps.push_back({lane + 1u, wire::encode(hello_of(wire::Role::page, lane))});
  }
  return steps;
}

wire::Transcript transcript_of(std::uint16_t lanes) {
  return {std::vector<wire::LaneTranscript>(lanes)};  // put right by who says it
}

void add(std::vector<Step>& steps, unsigned line, Bytes bytes) {
  steps.push_back({line, std::move(bytes)});
}

void make_sessions(const fs::path& all) {
  using wire::encode;
  const Corpus corpus(all, "session");

  std::vector<Step> one = greeting(1);
  add(one, 1, packet(0, wire::k_stable, 2, 100));
  add(one, 1, packet(1, wire::k_end_round, 0, 0));
  add(one, 0, encode(wire::Prepare{transcript_of(1), {}}));
  add(one, 0, encode(wire::Commit{transcript_of(1), k_token}));
  corpus.add("one-lane", input_of({.steps = one}));
  corpus.add("one-lane-cut", input_of({.ending = SessionScript::Ending::cut, .steps = one}));

  std::vector<Step> with_state = greeting(1);
  add(with_state, 1, packet(0, wire::k_stable, 2, 100));
  add(with_state, 1, packet(1, wire::k_end_round, 0, 0));
  const Bytes piece(100, std::byte{5});
  add(with_state, 0, encode(wire::StateSectionFrame{"vcpu0", 1}));
  add(with_state, 0, encode(wire::StatePiece{piece}));
  add(with_state, 0, encode(wire::StateEnd{piece.size(), state_checksum(piece)}));
  add(with_state, 0, encode(wire::StateSectionFrame{"empty", 3}));
  add(with_state, 0, encode(wire::StateEnd{}));
  add(with_state, 0, encode(wire::Prepare{transcript_of(1), {}}));
  add(with_state, 0, encode(wire::Commit{transcript_of(1), k_token}));
  corpus.add("device-state", input_of({.steps = with_state}));

  std::vector<Step> on_lane = greeting(1);
  add(on_lane, 1, packet(0, wire::k_stable, 2, 100));
  add(on_lane, 1, packet(1, wire::k_stable | wire::k_state, 2, 0));
  add(on_lane, 0, encode(wire::StateSectionFrame{"gpu", 1}));
  const Bytes two_units(2 * k_unit_bytes, std::byte{0xab});
  add(on_lane, 0, encode(wire::StateEnd{two_units.size(), state_checksum(two_units)}));
  add(on_lane, 1, packet(2, wire::k_end_round, 0, 0));
  add(on_lane, 0, encode(wire::Prepare{transcript_of(1), {}}));
  add(on_lane, 0, encode(wire::Commit{transcript_of(1), k_token}));
  corpus.add("device-state-on-lane", input_of({.steps = on_lane}));

  std::vector<Step> two = greeting(2);
  add(two, 0, encode(wire::Heartbeat{}));
  add(two, 2, packet(0, wire::k_live, 1, 0, 1));
  add(two, 1, packet(0, wire::k_stable, 1, 0));
  add(two, 2, packet(1, wire::k_stable, 0, 100, 2));
  add(two, 2, packet(2, wire::k_end_round, 0, 0));
  add(two, 1, packet(1, wire::k_end_round, 0, 0));
  add(two, 0, encode(wire::Prepare{transcript_of(2), {}}));
  add(two, 0, encode(wire::Commit{transcript_of(2), k_token}));
  corpus.add("two-lanes", input_of({.steps = two}));

  std::vector<Step> replaced = greeting(1);
  add(replaced, 1, packet(0, wire::k_stable, 2, 100));
  add(replaced, 0, encode(wire::ReplaceChannel{0}));
  add(replaced, 2, encode(hello_of(wire::Role::page, 0)));
  add(replaced, 0, encode(wire::ReplaceChannel{0}));
  add(replaced, 2, packet(1, wire::k_end_round, 0, 0));
  corpus.add("replaced", input_of({.steps = replaced}));

  std::vector<Step> aborted = greeting(2);
  add(aborted, 1, packet(0, wire::k_stable, 1, 0));
  add(aborted, 0, encode(wire::Abort{Errc::cancelled, "cancelled"}));
  corpus.add("abort", input_of({.steps = aborted}));

  std::vector<Step> damaged = greeting(1);
  Bytes packet_damaged = packet(0, wire::k_stable, 1, 0);
  packet_damaged.back() ^= std::byte{1};
  add(damaged, 1, packet_damaged);
  add(damaged, 1, packet(1, wire::k_stable | wire::k_resend, 1, 0));
  add(damaged, 1, packet(2, wire::k_end_round, 0, 0));
  corpus.add("damage", input_of({.seals = SessionScript::Seals::as_they_are, .steps = damaged}));

  std::vector<Step> placed = greeting(1);
  add(placed, 1, header_alone(packet(0, wire::k_stable | wire::k_placed, 2, 100)));
  add(placed, 1, packet(1, wire::k_end_round, 0, 0));
  corpus.add("placed-where-nobody-may", input_of({.steps = placed}));

  corpus.add("not-announced", input_of({.steps = {{1, encode(hello_of(wire::Role::page))}}}));
  corpus.add("http", input_of({.seals = SessionScript::Seals::as_they_are,
                               .steps = {{0, Bytes(40, std::byte{'G'})}}}));
  Bytes half = encode(hello_of(wire::Role::control));
  half.resize(half.size() / 2);
  corpus.add("half-a-hello",
             input_of({.seals = SessionScript::Seals::as_they_are, .steps = {{0, half}}}));

  std::vector<Step> solo = {
      {0, encode(hello_of(wire::Role::solo))},
      {0, encode(wire::LayoutFrame{{{{.name = "ram", .length = k_unit_bytes}}}})}};
  add(solo, 0, packet(0, wire::k_stable, 1, 0));
  add(solo, 0, packet(1, wire::k_end_round, 0, 0));
  add(solo, 0, encode(wire::Prepare{transcript_of(1), {}}));
  add(solo, 0, encode(wire::Commit{transcript_of(1), k_token}));
  corpus.add("solo", input_of({.steps = solo}));

  std::vector<Step> wrong_order = greeting(1);
  for (const auto& [name, frame] : all_frames()) add(wrong_order, 0, encode(frame));
  corpus.add("every-frame", input_of({.steps = wrong_order}));
}

}  // namespace
}  // namespace ferry::fuzz

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: make_seeds FOLDER\n", stderr);
    return 2;
  }
  const std::filesystem::path all = argv[1];
  ferry::fuzz::make_hellos(all);
  ferry::fuzz::make_hello_acks(all);
  ferry::fuzz::make_control_frames(all);
  ferry::fuzz::make_packets(all);
  ferry::fuzz::make_framings(all);
  ferry::fuzz::make_images(all);
  ferry::fuzz::make_uris(all);
  ferry::fuzz::make_sessions(all);
  return 0;
}
