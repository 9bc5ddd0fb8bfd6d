// Trees to measure with, made by ROOT. Called by benchmarks/samples.py: one call writes one file.
//
// No two events are equal, and values pack as well as real ones do: what is drawn keeps the precision that it was
// stored with, and what is random has the noise of a detector.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "ROOT/RNTupleImporter.hxx"
#include "TClonesArray.h"
#include "TFile.h"
#include "TLeaf.h"
#include "TParticle.h"
#include "TRandom3.h"
#include "TTree.h"

namespace samples {

// As CMS writes NanoAOD: a cluster is about 10 MB, packed.
const Long64_t kCluster = -10000000;
const Long64_t kSection = 1000;

// A branch of floats, and which of their bits are drawn anew.
struct Smeared {
   TLeaf *leaf;
   unsigned mask;
   std::vector<unsigned> kept; // values that stand for something, like -1 or 0: sorted
};

unsigned bitsOf(float value)
{
   unsigned bits;
   std::memcpy(&bits, &value, sizeof bits);
   return bits;
}

// Look at all values of a leaf. Those that occur twice, or are whole, are left as they are.
// The others keep sign, exponent and three bits; the rest of what was stored of them is drawn.
Smeared smeared(TLeaf *leaf)
{
   std::map<unsigned, int> times;
   for (Long64_t entry = 0; entry < leaf->GetBranch()->GetEntries(); ++entry) {
      if (leaf->GetLeafCount())
         leaf->GetLeafCount()->GetBranch()->GetEntry(entry);
      leaf->GetBranch()->GetEntry(entry);
      auto values = static_cast<float *>(leaf->GetValuePointer());
      for (int i = 0; i < leaf->GetLen(); ++i)
         ++times[bitsOf(values[i])];
   }
   Smeared made{leaf, 0, {}};
   unsigned stored = 0;
   for (auto [bits, number] : times) {
      float value;
      std::memcpy(&value, &bits, sizeof value);
      if (number > 1 || !std::isfinite(value) || value == std::floor(value))
         made.kept.push_back(bits);
      else
         stored |= bits;
   }
   if (stored)
      made.mask = 0xfffff & ~((stored & -stored) - 1);
   return made;
}

void smear(const Smeared &one, TRandom3 &draw)
{
   auto values = static_cast<char *>(one.leaf->GetValuePointer());
   for (int i = 0; i < one.leaf->GetLen(); ++i) {
      unsigned bits;
      std::memcpy(&bits, values + 4 * i, 4);
      if (std::binary_search(one.kept.begin(), one.kept.end(), bits))
         continue;
      bits ^= draw.Integer(0xffffffff) & one.mask;
      std::memcpy(values + 4 * i, &bits, 4);
   }
}

// Events of a NanoAOD file, drawn by chance, with numbers of their own and floats smeared;
// of the file's branches those that identify an event, and the first so many.
void nano(const char *out, int compression, Long64_t first, Long64_t events, const char *source, int branches)
{
   std::unique_ptr<TFile> input(TFile::Open(source));
   auto tree = input->Get<TTree>("Events");
   tree->SetCacheSize(0);
   tree->LoadBaskets(1 << 30);
   tree->GetEntry(0);
   int number = 0;
   for (auto branch : *tree->GetListOfBranches()) {
      std::string name = branch->GetName();
      bool counts = name[0] == 'n' || name == "run" || name == "luminosityBlock" || name == "event";
      bool wanted = ++number <= branches || counts;
      static_cast<TBranch *>(branch)->SetStatus(wanted);
   }

   TFile file(out, "RECREATE", "", compression);
   auto made = tree->CloneTree(0);
   made->SetAutoFlush(kCluster);
   made->SetAutoSave(0);
   std::vector<Smeared> floats;
   for (auto leaf : *made->GetListOfLeaves()) {
      auto drawn = tree->GetLeaf(leaf->GetName());
      if (std::string(drawn->GetTypeName()) == "Float_t")
         floats.push_back(smeared(drawn));
   }
   auto section = static_cast<UInt_t *>(tree->GetLeaf("luminosityBlock")->GetValuePointer());
   auto event = static_cast<ULong64_t *>(tree->GetLeaf("event")->GetValuePointer());
   TRandom3 draw(first + 1);
   for (Long64_t entry = first; entry < first + events; ++entry) {
      tree->GetEntry(draw.Integer(tree->GetEntries()));
      for (auto &one : floats)
         smear(one, draw);
      *section = entry / kSection;
      *event = entry;
      made->Fill();
   }
   file.Write();
}

// Raw data: identity, trigger bits, fixed arrays, and hits of 1,500 bytes an event, in vectors and in counted arrays.
void raw(const char *out, int compression, Long64_t first, Long64_t events)
{
   TFile file(out, "RECREATE", "", compression);
   TTree tree("Events", "raw data");
   tree.SetAutoFlush(kCluster);
   tree.SetAutoSave(0);
   UInt_t run = 1, section;
   ULong64_t event;
   Bool_t fired[64];
   Float_t temperature[16];
   UShort_t scaler[32];
   Int_t hits;
   UShort_t channel[1024], time[1024];
   std::vector<unsigned short> adc;
   tree.Branch("run", &run);
   tree.Branch("luminosityBlock", &section);
   tree.Branch("event", &event);
   for (int bit = 0; bit < 64; ++bit)
      tree.Branch(Form("HLT_%02d", bit), &fired[bit]);
   tree.Branch("temperature", temperature, "temperature[16]/F");
   tree.Branch("scaler", scaler, "scaler[32]/s");
   tree.Branch("nHit", &hits);
   tree.Branch("Hit_channel", channel, "Hit_channel[nHit]/s");
   tree.Branch("Hit_time", time, "Hit_time[nHit]/s");
   tree.Branch("adc", &adc);
   TRandom3 draw(first + 1);
   for (Long64_t entry = first; entry < first + events; ++entry) {
      section = entry / kSection;
      event = entry;
      for (int bit = 0; bit < 64; ++bit)
         fired[bit] = draw.Rndm() < 0.3 / (1 + bit);
      for (auto &value : temperature)
         value = std::round(draw.Gaus(21, 0.2) * 64) / 64;
      for (auto &value : scaler)
         value = draw.Poisson(40);
      hits = std::min(1024, static_cast<int>(draw.Poisson(125)));
      unsigned at = 0;
      for (int hit = 0; hit < hits; ++hit) {
         channel[hit] = at += 1 + draw.Integer(80);
         time[hit] = draw.Gaus(2000, 150);
      }
      adc.resize(4 * hits);
      for (auto &value : adc)
         value = 200 + draw.Gaus(0, 3) + draw.Exp(8);
      tree.Fill();
   }
   file.Write();
}

// Objects: classes that ROOT takes apart into branches of their members.
void objects(const char *out, int compression, Long64_t first, Long64_t events)
{
   TFile file(out, "RECREATE", "", compression);
   TTree tree("Events", "split objects");
   tree.SetAutoFlush(kCluster);
   tree.SetAutoSave(0);
   UInt_t run = 1, section;
   ULong64_t event;
   TClonesArray tracks("TParticle");
   tree.Branch("run", &run);
   tree.Branch("luminosityBlock", &section);
   tree.Branch("event", &event);
   tree.Branch("tracks", &tracks);
   TRandom3 draw(first + 1);
   for (Long64_t entry = first; entry < first + events; ++entry) {
      section = entry / kSection;
      event = entry;
      tracks.Clear();
      int number = draw.Poisson(20);
      for (int i = 0; i < number; ++i) {
         float px = draw.Gaus(0, 5), py = draw.Gaus(0, 5), pz = draw.Gaus(0, 50);
         new (tracks[i]) TParticle(211, 1, -1, -1, -1, -1, px, py, pz, std::hypot(px, py, pz), 0, 0, 0, 0);
      }
      tree.Fill();
   }
   file.Write();
}

// A tree of so many branches of one number each.
void wide(const char *out, int compression, Long64_t first, Long64_t events, int branches)
{
   TFile file(out, "RECREATE", "", compression);
   TTree tree("Events", "many branches");
   tree.SetAutoFlush(events / 4);
   tree.SetAutoSave(0);
   UInt_t run = 1, section;
   ULong64_t event;
   std::vector<Float_t> values(branches);
   tree.Branch("run", &run);
   tree.Branch("luminosityBlock", &section);
   tree.Branch("event", &event);
   for (int branch = 0; branch < branches; ++branch)
      tree.Branch(Form("x%d", branch), &values[branch]);
   TRandom3 draw(first + 1);
   for (Long64_t entry = first; entry < first + events; ++entry) {
      section = entry / kSection;
      event = entry;
      for (auto &value : values)
         value = std::round(draw.Gaus(0, 1000)) / 64;
      tree.Fill();
   }
   file.Write();
}

// The events of a file as an RNTuple.
void ntuple(const char *out, int compression, const char *source)
{
   auto importer = ROOT::Experimental::RNTupleImporter::Create(source, "Events", out);
   auto options = importer->GetWriteOptions();
   options.SetCompression(compression);
   importer->SetWriteOptions(options);
   importer->SetIsQuiet(true);
   importer->Import();
}
} // namespace samples
