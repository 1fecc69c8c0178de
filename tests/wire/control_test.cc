#include "wire/control.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <utility>

#include "tests/wire/control_frames.h"

namespace ferry::wire {
namespace {

Transcript some_transcript() { return {{{1, 2, 3, 4}, {0x1111, 0x2222, 0x3333, 0x4444}}}; }

/// One of each, and its bytes. They are the format: a change here is another version of it.
struct Golden {
  ControlFrame frame;
  std::string_view name;
  std::string_view hex;
};

const std::vector<Golden>& goldens() {
  static const std::vector<Golden> k_goldens = {
      {LayoutFrame{{{{"ram", 0x100000000, 4096, 0x2000}, {"rom", 0, 2 << 20, 5}}}}, "layout",
       "46525943 4e000000 0100 0200"
       "0300 72616d 0000000001000000 0010000000000000 0020000000000000"
       "0300 726f6d 0000000000000000 0000200000000000 0500000000000000 b48d058b8f811f31"},
      {LayoutAck{}, "layout-ack", "46525943 12000000 0200 a4257e501c64c7f5"},
      {AddChannels{1, 254}, "add-channels", "46525943 16000000 0300 0100 fe00 fa0f5e03af41af4b"},
      {ChannelsAck{0, 2}, "channels-ack", "46525943 16000000 0400 0000 0200 4f9369d5b8d90856"},
      {RoundAck{0x04030201}, "round-ack", "46525943 16000000 0500 01020304 3fbe510b601fb9bb"},
      {Nak{254, 0x0807060504030201, {{1, 4096, 8192}, {2, 0, 1}}}, "nak",
       "46525943 46000000 0600 fe00 0102030405060708 0200"
       "01000000 0010000000000000 0020000000000000"
       "02000000 0000000000000000 0100000000000000 6fa799750148baf0"},
      {Suspects{{{1023, 4096, 100}}}, "suspects",
       "46525943 28000000 0700 0100 ff030000 0010000000000000 6400000000000000 ec05edfb4d7aecdb"},
      {Heartbeat{0x0102030405060708, 0x1112131415161718, Heartbeat::Phase::switchover}, "heartbeat",
       "46525943 23000000 0800 0807060504030201 1817161514131211 02 bffe6367291f5de7"},
      {Prepare{some_transcript(), {counting_from<16>(0xa0)}}, "prepare",
       "46525943 66000000 0900 0200"
       "0100000000000000 0200000000000000 0300000000000000 0400000000000000"
       "1111000000000000 2222000000000000 3333000000000000 4444000000000000"
       "0100 a0a1a2a3a4a5a6a7a8a9aaabacadaeaf 08947bccb3c1d7e4"},
      {Ready{some_transcript(), 5, 6}, "ready",
       "46525943 64000000 0a00 0200"
       "0100000000000000 0200000000000000 0300000000000000 0400000000000000"
       "1111000000000000 2222000000000000 3333000000000000 4444000000000000"
       "0500000000000000 0600000000000000 7f76e1e1cb149670"},
      {Commit{some_transcript(), {counting_from<16>(0xb0)}}, "commit",
       "46525943 64000000 0b00 0200"
       "0100000000000000 0200000000000000 0300000000000000 0400000000000000"
       "1111000000000000 2222000000000000 3333000000000000 4444000000000000"
       "b0b1b2b3b4b5b6b7b8b9babbbcbdbebf d4c6a00bd65a9d1f"},
      {Started{{counting_from<16>(0xc0)}}, "started",
       "46525943 22000000 0c00 c0c1c2c3c4c5c6c7c8c9cacbcccdcecf 2b1e8254a30ebedb"},
      {Abort{Errc::guest, "disk full"}, "abort",
       "46525943 1f000000 0d00 0c00 0900 6469736b2066756c6c d350292c86bd130a"},
      {StateSectionFrame{"vcpu0", 3}, "state-section",
       "46525943 1d000000 0e00 0500 7663707530 03000000 82ced27a4c59d256"},
      {StatePiece{from_hex("0102030405")}, "state-piece",
       "46525943 1b000000 0f00 05000000 0102030405 d3da8566476a008c"},
      {StateEnd{5, 0x0102030405060708}, "state-end",
       "46525943 22000000 1000 0500000000000000 0807060504030201 1c42aba91529f08e"},
      {StateAck{1, 12}, "state-ack",
       "46525943 1c000000 1100 0100 0c00000000000000 9c2fed5abd57e4a1"},
      {ReplaceChannel{3}, "replace-channel", "46525943 14000000 1200 0300 dc79bfdb13ae8a3e"},
      {LaneTimesFrame{1, 2, 3, 4, 5, 6}, "lane-times",
       "46525943 42000000 0180 0100000000000000 0200000000000000 0300000000000000"
       "0400000000000000 0500000000000000 0600000000000000 f0ed96257cb17786"},
  };
  return k_goldens;
}

TEST(Control, EveryFrameHasTheseBytes) {
  for (const Golden& golden : goldens()) {
    EXPECT_EQ(to_hex(encode(golden.frame)), to_hex(from_hex(golden.hex))) << golden.name;
    const auto decoded = decode_control(from_hex(golden.hex));
    ASSERT_TRUE(decoded) << decoded.error().text();
    EXPECT_EQ(*decoded, golden.frame) << golden.name;
    EXPECT_EQ(name_of(golden.frame), golden.name);
  }
  EXPECT_EQ(goldens().size(), std::variant_size_v<ControlFrame> - 1) << "one of each";
}

TEST(Control, AnyDamageIsRefused) {
  for (const Golden& golden : goldens()) {
    SCOPED_TRACE(golden.name);
    expect_damage_is_refused(encode(golden.frame), decode_control);
  }
}

TEST(Control, AnythingElseIsRefusedOrMeansWhatItSays) {
  for (const Golden& golden : goldens()) {
    SCOPED_TRACE(golden.name);
    expect_mutants_are_refused_or_mean_themselves(
        encode(golden.frame), decode_control, [](const ControlFrame& decoded) {
          // Codes and texts of an Abort, and frames that are not known, lose on the way what they
          // are allowed to lose.
          const bool lossy =
              std::holds_alternative<Unknown>(decoded) || std::holds_alternative<Abort>(decoded);
          return lossy ? Bytes{} : encode(decoded);
        });
  }
}

TEST(Control, AnUnknownFrameIsRefusedUnlessItIsOptional) {
  for (const std::uint16_t type : {0, 17, 0x7fff}) {
    EXPECT_TRUE(is_refused(frame(type))) << type;
    const auto optional = static_cast<std::uint16_t>(type | k_optional_frame);
    const auto decoded = decode_control(frame(optional, [](ByteWriter& out) { out.u64(1); }));
    ASSERT_TRUE(decoded) << type;
    EXPECT_EQ(*decoded, ControlFrame(Unknown{optional}));
    EXPECT_EQ(name_of(*decoded), "unknown");
  }
  // A known number with the bit is another type.
  EXPECT_EQ(decode_control(frame(k_optional_frame | 2)),
            ControlFrame(Unknown{k_optional_frame | 2}));
}

TEST(Control, AFrameHasALengthAtMost) {
  const auto of_length = [](std::size_t length) {
    return frame(k_optional_frame, [length](ByteWriter& out) { out.bytes(Bytes(length - 18)); });
  };
  EXPECT_TRUE(decode_control(of_length(k_max_control_bytes)));
  EXPECT_TRUE(is_refused(of_length(k_max_control_bytes + 1)));
}

// Channels.

TEST(ControlChannels, AreOneAtLeastAnd255AtMost) {
  const auto channels = [](std::uint16_t type, std::uint16_t first, std::uint16_t count) {
    return frame(type, [=](ByteWriter& out) {
      out.u16(first);
      out.u16(count);
    });
  };
  for (const std::uint16_t type : {3, 4}) {
    EXPECT_TRUE(decode_control(channels(type, 0, 1)));
    EXPECT_TRUE(decode_control(channels(type, 0, k_max_channels)));
    EXPECT_TRUE(decode_control(channels(type, k_max_channels - 1, 1)));
    EXPECT_TRUE(is_refused(channels(type, 0, 0)));
    EXPECT_TRUE(is_refused(channels(type, 0, k_max_channels + 1)));
    EXPECT_TRUE(is_refused(channels(type, k_max_channels, 1)));
    EXPECT_TRUE(is_refused(channels(type, k_max_channels, 0)));
    EXPECT_TRUE(is_refused(channels(type, 1, k_max_channels)));
    EXPECT_TRUE(is_refused(channels(type, k_max_channels + 1, 65535)));
    EXPECT_TRUE(is_refused(channels(type, 65535, 1))) << "would be 0 in 16 bits";
  }
}

TEST(ControlChannels, AreReplacedOnALaneThatCanBe) {
  const auto of_lane = [](std::uint16_t lane) {
    return frame(18, [lane](ByteWriter& out) { out.u16(lane); });
  };
  EXPECT_TRUE(decode_control(of_lane(k_max_channels - 1)));
  EXPECT_TRUE(is_refused(of_lane(k_max_channels)));
  EXPECT_TRUE(is_refused(of_lane(65535)));
}

// NAKs and suspects.

Bytes runs_frame(std::uint16_t type, const std::vector<PageRun>& runs, int more = 0) {
  return frame(type, [&](ByteWriter& out) {
    if (type == 6) {
      out.u16(0);
      out.u64(0);
    }
    out.u16(static_cast<std::uint16_t>(static_cast<int>(runs.size()) + more));
    for (const PageRun& run : runs) {
      out.u32(run.region);
      out.u64(run.offset);
      out.u64(run.length);
    }
  });
}

class ControlRuns : public testing::TestWithParam<std::uint16_t> {};
INSTANTIATE_TEST_SUITE_P(NakAndSuspects, ControlRuns, testing::Values(6, 7),
                         [](const auto& type) { return type.param == 6 ? "Nak" : "Suspects"; });

TEST_P(ControlRuns, AreAsManyAsTheLimitAtMost) {
  const std::size_t limit = GetParam() == 6 ? k_max_nak_runs : k_max_runs;
  std::vector<PageRun> runs(limit, PageRun{0, 0, 1});
  EXPECT_TRUE(decode_control(runs_frame(GetParam(), runs)));
  runs.push_back({0, 0, 1});
  EXPECT_TRUE(is_refused(runs_frame(GetParam(), runs)));
}

TEST_P(ControlRuns, CouldLieInSomeMemory) {
  const auto refused = [](const PageRun& run) { return is_refused(runs_frame(GetParam(), {run})); };
  EXPECT_FALSE(refused({k_max_regions - 1, 0, k_max_memory_bytes}));
  EXPECT_TRUE(refused({k_max_regions, 0, 1}));
  EXPECT_TRUE(refused({0, 0, 0}));
  EXPECT_TRUE(refused({0, 1, 1}));
  EXPECT_TRUE(refused({0, k_unit_bytes, k_max_memory_bytes}));
  EXPECT_TRUE(refused({0, UINT64_MAX - k_unit_bytes + 1, 2 * k_unit_bytes}));
}

TEST_P(ControlRuns, AreCountedAgainstTheBytesThatThereAre) {
  for (const int more : {-1, 1, 1000, -2}) {
    EXPECT_TRUE(is_refused(runs_frame(GetParam(), {{0, 0, 1}}, more))) << more;
  }
}

TEST(ControlNak, NamesARunAtLeastAndALaneThatCanBe) {
  EXPECT_TRUE(is_refused(runs_frame(6, {})));
  EXPECT_TRUE(decode_control(runs_frame(7, {}))) << "no suspects is something to say";
  const auto of_lane = [](std::uint16_t lane) {
    return frame(6, [lane](ByteWriter& out) {
      out.u16(lane);
      out.u64(0);
      out.u16(1);
      out.u32(0);
      out.u64(0);
      out.u64(1);
    });
  };
  EXPECT_TRUE(decode_control(of_lane(k_max_channels - 1)));
  EXPECT_TRUE(is_refused(of_lane(k_max_channels)));
}

// The rest.

TEST(ControlHeartbeat, HasAPhaseThatIsKnown) {
  const auto of_phase = [](std::uint8_t phase) {
    return frame(8, [phase](ByteWriter& out) {
      out.u64(0);
      out.u64(0);
      out.u8(phase);
    });
  };
  EXPECT_TRUE(decode_control(of_phase(3)));
  EXPECT_TRUE(is_refused(of_phase(4)));
  EXPECT_TRUE(is_refused(of_phase(255)));
}

TEST(ControlState, ASectionHasANameOf1To255BytesAndNoNul) {
  const auto named = [](std::string_view name) {
    return frame(14, [=](ByteWriter& out) {
      out.string(name);
      out.u32(1);
    });
  };
  EXPECT_TRUE(decode_control(named("a")));
  EXPECT_TRUE(decode_control(named(std::string(255, 'a'))));
  EXPECT_TRUE(is_refused(named("")));
  EXPECT_TRUE(is_refused(named(std::string(256, 'a'))));
  EXPECT_TRUE(is_refused(named(std::string_view("a\0b", 3))));
}

TEST(ControlState, APieceHasAByteAtLeastAnd256KibAtMost) {
  const auto of = [](std::size_t bytes, int more = 0) {
    return frame(15, [=](ByteWriter& out) {
      out.u32(static_cast<std::uint32_t>(static_cast<int>(bytes) + more));
      out.bytes(Bytes(bytes));
    });
  };
  EXPECT_TRUE(is_refused(of(0)));
  EXPECT_TRUE(decode_control(of(1)));
  EXPECT_TRUE(decode_control(of(k_max_state_piece_bytes)));
  EXPECT_TRUE(is_refused(of(k_max_state_piece_bytes + 1)));
  EXPECT_TRUE(is_refused(of(10, 1)));
  EXPECT_TRUE(is_refused(of(10, -1)));
  EXPECT_TRUE(is_refused(of(10, -11)));
}

TEST(ControlTranscript, Has255LanesAtMost) {
  const auto of_lanes = [](std::uint16_t type, std::size_t lanes, int more = 0) {
    return frame(type, [=](ByteWriter& out) {
      out.u16(static_cast<std::uint16_t>(static_cast<int>(lanes) + more));
      out.bytes(Bytes(lanes * 32));
      if (type == 9) out.u16(0);
      if (type != 9) out.bytes(Bytes(16));
    });
  };
  for (const std::uint16_t type : {9, 10, 11}) {
    EXPECT_TRUE(decode_control(of_lanes(type, 0)));
    EXPECT_TRUE(decode_control(of_lanes(type, k_max_channels)));
    EXPECT_TRUE(is_refused(of_lanes(type, k_max_channels + 1)));
    EXPECT_TRUE(is_refused(of_lanes(type, 3, 1)));
    EXPECT_TRUE(is_refused(of_lanes(type, 3, -1)));
    EXPECT_TRUE(is_refused(of_lanes(type, 3, 250)));
  }
}

TEST(ControlPrepare, HasADigestForEachRegionAtMost) {
  const auto of_digests = [](std::size_t digests, int more = 0) {
    return frame(9, [=](ByteWriter& out) {
      out.u16(0);
      out.u16(static_cast<std::uint16_t>(static_cast<int>(digests) + more));
      out.bytes(Bytes(digests * 16));
    });
  };
  EXPECT_TRUE(decode_control(of_digests(k_max_regions)));
  EXPECT_TRUE(is_refused(of_digests(k_max_regions + 1)));
  EXPECT_TRUE(is_refused(of_digests(3, 1)));
  EXPECT_TRUE(is_refused(of_digests(3, -1)));
  EXPECT_TRUE(is_refused(of_digests(3, 1000)));
}

TEST(ControlAbort, SaysEveryCodeThatThereIs) {
  for (int code = 0; code <= static_cast<int>(Errc::not_converging); ++code) {
    EXPECT_TRUE(comes_out(Abort{static_cast<Errc>(code), "text"})) << code;
  }
}

Bytes abort_frame(std::uint16_t code, std::string_view text) {
  return frame(13, [=](ByteWriter& out) {
    out.u16(code);
    out.string(text);
  });
}

TEST(ControlAbort, ACodeThatIsNotKnownHereMeansThatThePeerFailed) {
  for (const std::uint16_t code : {0, 14, 65535}) {
    EXPECT_EQ(decode_control(abort_frame(code, "why")),
              ControlFrame(Abort{Errc::disconnected, "why"}));
  }
}

TEST(ControlAbort, ATextIsCutWhenWrittenAndRefusedWhenLonger) {
  const std::string longest(k_max_text_bytes, 'a');
  const ControlFrame expected = Abort{Errc::guest, longest};
  EXPECT_EQ(decode_control(encode(expected)), expected);
  EXPECT_EQ(decode_control(encode(Abort{Errc::guest, longest + "b"})), expected);
  EXPECT_TRUE(is_refused(abort_frame(1, longest + "b")));
}

TEST(ControlAbort, ATextCannotCommandATerminal) {
  EXPECT_EQ(decode_control(abort_frame(1, "a\x1b[2J\r\n")),
            ControlFrame(Abort{Errc::cancelled, "a\\x1b[2J\\x0d\\x0a"}));
}

TEST(Control, EveryFrameComesOutAsItWentIn) {
  std::mt19937_64 random(5);
  const auto some_runs = [&random](std::size_t least) {
    std::vector<PageRun> runs(least + random() % 50);
    for (PageRun& run : runs) {
      run = {static_cast<RegionId>(random() % k_max_regions),
             random() % (std::uint64_t{1} << 31) * k_unit_bytes, 1 + random() % (8 * k_gib)};
    }
    return runs;
  };
  const auto random_transcript = [&random] {
    Transcript transcript;
    transcript.lanes.resize(random() % (k_max_channels + 1));
    for (LaneTranscript& lane : transcript.lanes) lane = {random(), random(), random(), random()};
    return transcript;
  };
  for (int trial = 0; trial < 100; ++trial) {
    LayoutFrame layout;
    for (std::uint64_t i = random() % 20; i > 0; --i) {
      layout.layout.regions.push_back({.name = std::to_string(i) + std::string(random() % 250, 'x'),
                                       .guest_address = random() % (std::uint64_t{1} << 60),
                                       .page_size = k_unit_bytes << random() % 19,
                                       .length = random() % (std::uint64_t{1} << 39)});
    }
    const auto index = static_cast<std::uint16_t>(random() % k_max_channels);
    const auto count = static_cast<std::uint16_t>(1 + random() % (k_max_channels - index));
    ASSERT_TRUE(comes_out(layout));
    ASSERT_TRUE(comes_out(AddChannels{index, count}));
    ASSERT_TRUE(comes_out(ChannelsAck{index, count}));
    ASSERT_TRUE(comes_out(RoundAck{static_cast<std::uint32_t>(random())}));
    ASSERT_TRUE(comes_out(Nak{index, random(), some_runs(1)}));
    ASSERT_TRUE(comes_out(Suspects{some_runs(0)}));
    ASSERT_TRUE(
        comes_out(Heartbeat{random(), random(), static_cast<Heartbeat::Phase>(random() % 4)}));
    std::vector<Digest> digests(random() % 20);
    for (Digest& digest : digests) digest = counting_from<16>(static_cast<unsigned>(random()));
    ASSERT_TRUE(comes_out(Prepare{random_transcript(), digests}));
    ASSERT_TRUE(comes_out(Ready{random_transcript(), random(), random()}));
    const OwnerToken token{counting_from<16>(static_cast<unsigned>(random()))};
    ASSERT_TRUE(comes_out(Commit{random_transcript(), token}));
    ASSERT_TRUE(comes_out(Started{token}));
  }
}

}  // namespace
}  // namespace ferry::wire
