#include "tests/session/scripted_source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "multifd/lane_transcript.h"

namespace ferry::test {

wire::PacketHeader header_of(const PageRun& run, std::span<const std::byte> bytes) {
  const auto length = static_cast<std::uint32_t>(bytes.size());
  wire::PacketHeader header;
  header.payload_bytes = header.raw_bytes = length;
  header.runs = {{.run = run, .kind = wire::RunKind::raw, .payload_bytes = length}};
  for (std::size_t at = 0; at < bytes.size(); at += k_unit_bytes) {
    header.checksums.push_back(wire::unit_checksum(
        bytes.subspan(at, std::min<std::size_t>(k_unit_bytes, bytes.size() - at))));
  }
  return header;
}

ScriptedSource::ScriptedSource(Runtime& runtime, std::string uri, int session)
    : runtime_(runtime),
      uri_(std::move(uri)),
      session_(session_id(session)),
      control_(connect_to(runtime_, uri_)) {}

wire::Hello ScriptedSource::hello(wire::Role role, std::uint16_t index) const {
  return {.session = session_, .role = role, .index = index};
}

void ScriptedSource::greet() {
  EXPECT_EQ(control_.introduce(hello(wire::Role::control)).verdict,
            wire::HelloAck::Verdict::accepted);
}

wire::HelloAck ScriptedSource::connect_page(std::uint16_t index) {
  lanes_.push_back({.peer = connect_to(runtime_, uri_)});
  return lanes_.back().peer.introduce(hello(wire::Role::page, index));
}

void ScriptedSource::replace(std::uint16_t lane) { replace_and_keep(lane).finish(); }

Peer ScriptedSource::replace_and_keep(std::uint16_t lane) {
  control_.say(wire::ReplaceChannel{lane});
  EXPECT_EQ(control_.hear<wire::ChannelsAck>(), (wire::ChannelsAck{.first = lane, .count = 1}));
  Peer next = connect_to(runtime_, uri_);
  EXPECT_EQ(next.introduce(hello(wire::Role::page, lane)).verdict,
            wire::HelloAck::Verdict::accepted);
  return std::exchange(lanes_.at(lane).peer, std::move(next));
}

void ScriptedSource::open(const Layout& layout, std::uint16_t channels) {
  greet();
  control_.say(wire::LayoutFrame{layout});
  control_.hear<wire::LayoutAck>();
  control_.say(wire::AddChannels{.first = 0, .count = channels});
  EXPECT_EQ(control_.hear<wire::ChannelsAck>(), (wire::ChannelsAck{.first = 0, .count = channels}));
  for (std::uint16_t index = 0; index < channels; ++index) {
    EXPECT_EQ(connect_page(index).verdict, wire::HelloAck::Verdict::accepted);
  }
}

bool ScriptedSource::packet(std::uint16_t channel, wire::PacketHeader header,
                            std::span<const std::byte> payload) {
  Lane& lane = lanes_.at(channel);
  header.sequence = lane.transcript.packets;
  header.round = round;
  const wire::EncodedHeader encoded = wire::encode(header);
  record_packet(lane.transcript, encoded.checksum, header.payload_bytes);
  return lane.peer.say(encoded.bytes) && (payload.empty() || lane.peer.say(payload));
}

bool ScriptedSource::data(std::uint16_t channel, const PageRun& run,
                          std::span<const std::byte> bytes) {
  return packet(channel, header_of(run, bytes), bytes);
}

bool ScriptedSource::zeros(std::uint16_t channel, const PageRun& run) {
  wire::PacketHeader header;
  header.runs = {{.run = run, .kind = wire::RunKind::zero}};
  return packet(channel, header);
}

bool ScriptedSource::end_round(std::uint16_t channel) {
  wire::PacketHeader header;
  header.flags = wire::k_end_round;
  return packet(channel, header);
}

void ScriptedSource::heard(const wire::Nak& nak) {
  record_verdict(lanes_.at(nak.lane).transcript, nak);
}

void ScriptedSource::send_all(const Mappings& memory) {
  for (const MemoryRegion& region : memory.memory().regions()) {
    data(0, {region.id, 0, region.length}, memory.region(region.id));
  }
  for (std::uint16_t index = 0; index < lanes_.size(); ++index) end_round(index);
  EXPECT_EQ(control_.hear<wire::RoundAck>().round, round);
  ++round;
}

void ScriptedSource::prepare() {
  control_.say(wire::Prepare{.transcript = transcript()});
  EXPECT_EQ(control_.hear<wire::Ready>().transcript, transcript());
}

void ScriptedSource::commit() {
  const OwnerToken token{session_};
  control_.say(wire::Commit{.transcript = transcript(), .token = token});
  EXPECT_EQ(control_.hear<wire::Started>().token, token);
}

void ScriptedSource::migrate(const Mappings& memory) {
  open(memory.memory().layout());
  send_all(memory);
  prepare();
  commit();
}

wire::Transcript ScriptedSource::transcript() const {
  wire::Transcript transcript;
  for (const Lane& lane : lanes_) transcript.lanes.push_back(lane.transcript);
  return transcript;
}

}  // namespace ferry::test
