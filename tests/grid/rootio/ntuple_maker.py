"""RNTuples that ROOT writes: ``python ntuple_maker.py FOLDER``; and what ROOT reads of them.

``python ntuple_maker.py --show FOLDER NAME ...`` writes what ROOT reads of each file into ``NAME.shown``.
"""

from __future__ import annotations

import sys
from typing import Any

import ROOT

MAKE = r"""
#include <ROOT/RFieldVisitor.hxx>
#include <ROOT/RNTupleModel.hxx>
#include <ROOT/RNTupleReader.hxx>
#include <ROOT/RNTupleWriter.hxx>
#include <ROOT/RNTupleWriteOptions.hxx>
#include <fstream>
#include <map>
#include <set>

struct Way {
   int compression = 505;
   int entries = 300;
   int first = 0;
   int group = 0;      // entries after which a group of clusters ends
   int cluster = 100;
   bool checksums = true;
   bool split = true;  // the encoding of "px"
   bool reversed = false;
   int late = -1;      // the entry at which fields are added
   std::string extra;  // "new", "retyped", "odd"
};

template <class Model>
void add_late(Model &model) {
   model.template MakeField<double>("added");
   model.template MakeField<std::vector<int>>("added_list");
   model.template MakeField<std::array<std::int16_t, 2>>("added_pair");
}

// Fields whose columns have bits, rounded numbers, or several things in one.
void add_odd(ROOT::RNTupleModel &model) {
   using std::vector, std::string;
   auto half = std::make_unique<ROOT::RField<float>>("half");
   half->SetHalfPrecision();
   auto truncated = std::make_unique<ROOT::RField<float>>("truncated");
   truncated->SetTruncated(17);
   auto quantized = std::make_unique<ROOT::RField<double>>("quantized");
   quantized->SetQuantized(0, 100000, 23);
   auto narrow = std::make_unique<ROOT::RField<double>>("narrow");
   narrow->SetDouble32();
   model.AddField(std::move(half));
   model.AddField(std::move(truncated));
   model.AddField(std::move(quantized));
   model.AddField(std::move(narrow));
   model.MakeField<vector<bool>>("flags");
   model.MakeField<std::set<int>>("set");
   model.MakeField<std::map<string, float>>("map");
   model.MakeField<std::optional<vector<float>>>("maybe_list");
   model.MakeField<std::tuple<int, string, double>>("tuple");
   model.MakeField<std::byte>("byte");
   model.MakeField<std::array<std::array<short, 2>, 3>>("matrix");
   model.MakeField<std::array<bool, 5>>("array_of_bits");
   model.MakeField<std::array<string, 2>>("array_of_texts");
   model.MakeField<std::array<vector<float>, 2>>("array_of_lists");
}

void fill_odd(ROOT::REntry &entry, int i) {
   using std::vector, std::string;
   *entry.GetPtr<float>("half") = *entry.GetPtr<float>("truncated") = i * 0.37f;
   *entry.GetPtr<double>("quantized") = *entry.GetPtr<double>("narrow") = i * 0.37;
   entry.GetPtr<vector<bool>>("flags")->assign(i % 13, i % 2);
   *entry.GetPtr<std::set<int>>("set") = i % 4 ? std::set<int>{i, i + 2} : std::set<int>{};
   *entry.GetPtr<std::map<string, float>>("map") = {{string(i % 5, 'k'), 1.f * i}};
   if (i % 5) *entry.GetPtr<std::optional<vector<float>>>("maybe_list") = vector<float>(i % 3, i);
   else entry.GetPtr<std::optional<vector<float>>>("maybe_list")->reset();
   *entry.GetPtr<std::tuple<int, string, double>>("tuple") = {i, string(i % 6, 't'), i * 0.5};
   *entry.GetPtr<std::byte>("byte") = std::byte(i % 256);
   *entry.GetPtr<std::array<std::array<short, 2>, 3>>("matrix") = {{{short(i), 1}, {2, 3}, {4, short(-i)}}};
   *entry.GetPtr<std::array<bool, 5>>("array_of_bits") = {i % 2 == 0, i % 3 == 0, true, i % 5 == 0, false};
   *entry.GetPtr<std::array<string, 2>>("array_of_texts") = {string(i % 3, 'q'), string(i % 4, 'z')};
   *entry.GetPtr<std::array<vector<float>, 2>>("array_of_lists") = {vector<float>(i % 3, i), vector<float>(i % 4, -i)};
}

void fill(ROOT::REntry &entry, int i, bool late) {
   using std::vector, std::string;
   *entry.GetPtr<std::uint64_t>("event") = i;
   *entry.GetPtr<float>("px") = i * 0.5f;
   *entry.GetPtr<bool>("HLT_any") = i % 3 == 0;
   *entry.GetPtr<string>("text") = string(i % 7, 'a' + i % 26);
   auto list = entry.GetPtr<vector<float>>("list");
   list->assign(i % 4, i);
   auto nested = entry.GetPtr<vector<vector<std::int32_t>>>("nested");
   nested->assign(i % 3, vector<std::int32_t>(i % 5, i));
   entry.GetPtr<vector<string>>("texts")->assign(i % 3, string(i % 2, 'x'));
   *entry.GetPtr<std::array<float, 3>>("array") = {1.f * i, 2.f * i, 3};
   *entry.GetPtr<std::pair<float, std::int64_t>>("pair") = {1.f * i, -i};
   entry.GetPtr<vector<std::pair<float, string>>>("pairs")->assign(i % 3, {1.f * i, "p"});
   *entry.GetPtr<std::bitset<11>>("bits") = i;
   if (i % 2) *entry.GetPtr<std::variant<std::int32_t, string>>("variant") = i;
   else *entry.GetPtr<std::variant<std::int32_t, string>>("variant") = string("v");
   if (i % 2) *entry.GetPtr<std::optional<double>>("maybe") = i;
   else entry.GetPtr<std::optional<double>>("maybe")->reset();
   if (late) {
      *entry.GetPtr<double>("added") = i;
      entry.GetPtr<vector<int>>("added_list")->assign(i % 3, i);
      *entry.GetPtr<std::array<std::int16_t, 2>>("added_pair") = {std::int16_t(i), 7};
   }
}

void write(const std::string &path, const Way &way) {
   using std::vector, std::string;
   auto model = ROOT::RNTupleModel::Create();
   auto px = std::make_unique<ROOT::RField<float>>("px");
   using Type = ROOT::ENTupleColumnType;
   px->SetColumnRepresentatives({{way.split ? Type::kSplitReal32 : Type::kReal32}});
   if (!way.reversed) { model->MakeField<std::uint64_t>("event"); model->AddField(std::move(px)); }
   if (way.extra == "retyped") model->MakeField<std::int32_t>("changed");
   if (way.extra == "typed") model->MakeField<std::int64_t>("changed");
   if (way.extra == "new") model->MakeField<std::int64_t>("more");
   model->MakeField<bool>("HLT_any");
   model->MakeField<string>("text");
   model->MakeField<vector<float>>("list");
   model->MakeField<vector<vector<std::int32_t>>>("nested");
   model->MakeField<vector<string>>("texts");
   model->MakeField<std::array<float, 3>>("array");
   model->MakeField<std::pair<float, std::int64_t>>("pair");
   model->MakeField<vector<std::pair<float, string>>>("pairs");
   model->MakeField<std::bitset<11>>("bits");
   model->MakeField<std::variant<std::int32_t, string>>("variant");
   model->MakeField<std::optional<double>>("maybe");
   if (way.extra == "odd") add_odd(*model);
   if (way.reversed) { model->AddField(std::move(px)); model->MakeField<std::uint64_t>("event"); }
   auto count = ROOT::RFieldBase::Create("nlist", "ROOT::RNTupleCardinality<std::uint32_t>").Unwrap();
   model->AddProjectedField(std::move(count), [](const std::string &) { return "list"; });
   ROOT::RNTupleWriteOptions options;
   options.SetCompression(way.compression);
   options.SetInitialUnzippedPageSize(256);
   options.SetMaxUnzippedPageSize(1024);
   options.SetEnablePageChecksums(way.checksums);
   options.SetEnableSamePageMerging(way.checksums);
   auto writer = ROOT::RNTupleWriter::Recreate(std::move(model), "Events", path, options);
   auto extend = [&writer] {
      auto updater = writer->CreateModelUpdater();
      updater->BeginUpdate();
      add_late(*updater);
      updater->CommitUpdate();
   };
   if (way.late == 0) extend();
   auto entry = writer->CreateEntry();
   for (int i = 0; i < way.entries; ++i) {
      if (i && i == way.late) {
         extend();
         entry = writer->CreateEntry();
      }
      fill(*entry, way.first + i, way.late >= 0 && i >= way.late);
      if (way.extra == "odd") fill_odd(*entry, way.first + i);
      writer->Fill(*entry);
      if (way.cluster && i % way.cluster == way.cluster - 1)
         writer->CommitCluster(way.group && i % way.group == way.group - 1);
   }
}

void show(const std::string &path, const std::string &out) {
   // ROOT can show neither counts of projected fields nor variants
   using Variant = std::variant<std::int32_t, std::string>;
   auto all = ROOT::RNTupleReader::Open("Events", path);
   auto model = ROOT::RNTupleModel::Create();
   std::vector<std::string> names;
   for (const auto &field : all->GetDescriptor().GetTopLevelFields())
      if (field.GetFieldName() != "nlist" && field.GetFieldName() != "variant") names.push_back(field.GetFieldName());
   std::sort(names.begin(), names.end());
   for (const auto &name : names) {
      const auto &field = all->GetDescriptor().GetFieldDescriptor(all->GetDescriptor().FindFieldId(name));
      model->AddField(ROOT::RFieldBase::Create(name, field.GetTypeName()).Unwrap());
   }
   auto reader = ROOT::RNTupleReader::Open(std::move(model), "Events", path);
   auto entry = reader->GetModel().CreateEntry();
   auto variants = all->GetView<Variant>("variant");
   std::ofstream file(out);
   for (std::size_t i = 0; i < reader->GetNEntries(); ++i) {
      reader->LoadEntry(i, *entry);
      for (auto &value : *entry) {
         ROOT::Internal::RPrintValueVisitor visitor(value, file);
         value.GetField().AcceptVisitor(visitor);
      }
      const auto &one = variants(i);
      file << "variant ";
      if (one.index() == 0) file << std::get<0>(one) << "\n";
      else file << std::get<1>(one) << "\n";
   }
}
"""

WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "next": {"first": 300, "cluster": 70},
    "groups": {"first": 1000, "cluster": 50, "group": 100},
    "empty": {"entries": 0},
    "zlib": {"first": 2000, "compression": 101},
    "lzma": {"first": 3000, "compression": 207},
    "lz4": {"first": 4000, "compression": 404, "checksums": False},
    "none": {"first": 5000, "compression": 0},
    "unsealed": {"first": 6000, "checksums": False},
    "unsplit": {"first": 7000, "split": False},
    "reversed": {"first": 8000, "reversed": True},
    "late": {"first": 9000, "late": 130},
    "later": {"first": 10000, "late": 210},
    "late0": {"first": 11000, "late": 0},
    "odd": {"first": 12000, "extra": '"odd"'},
    "new": {"extra": '"new"'},
    "typed": {"extra": '"typed"'},
    "retyped": {"extra": '"retyped"'},
}


def main(arguments: list[str]) -> None:
    ROOT.gErrorIgnoreLevel = ROOT.kError
    ROOT.gInterpreter.Declare(MAKE)
    if arguments[0] == "--show":
        for name in arguments[2:]:
            ROOT.show(f"{arguments[1]}/{name}", f"{arguments[1]}/{name}.shown")
        return
    code = []
    for name, way in WAYS.items():
        set_ = " ".join(
            f"way.{key} = {str(value).lower() if isinstance(value, bool) else value};"
            for key, value in way.items()
        )
        code.append(f'{{ Way way; {set_} write("{arguments[0]}/{name}.root", way); }}')
    ROOT.gInterpreter.ProcessLine(" ".join(code))


if __name__ == "__main__":
    main(sys.argv[1:])
