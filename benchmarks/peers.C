// What a careful user of ROOT does today, as fast as ROOT does it in one thread. Called by benchmarks/peers.py.

#include <memory>
#include <string>
#include <vector>

#include "ROOT/RNTupleReader.hxx"
#include "TFile.h"
#include "TKey.h"
#include "TTree.h"
#include "TTreeFormula.h"

namespace peers {

// Read every value; return the number of events.
Long64_t readAll(const char *path)
{
   std::unique_ptr<TFile> file(TFile::Open(path));
   if (std::string(file->GetKey("Events")->GetClassName()) != "TTree") {
      auto reader = ROOT::RNTupleReader::Open("Events", path);
      for (auto entry : *reader)
         reader->LoadEntry(entry);
      return reader->GetNEntries();
   }
   auto tree = file->Get<TTree>("Events");
   for (Long64_t entry = 0; entry < tree->GetEntries(); ++entry)
      tree->GetEntry(entry);
   return tree->GetEntries();
}

// One pass over the input for each output.
void copyTree(const char *in, const std::vector<std::string> &outs, const std::vector<std::string> &cuts)
{
   std::unique_ptr<TFile> input(TFile::Open(in));
   auto tree = input->Get<TTree>("Events");
   for (size_t i = 0; i < outs.size(); ++i) {
      TFile file(outs[i].c_str(), "RECREATE", "", input->GetCompressionSettings());
      tree->CopyTree(cuts[i].c_str());
      file.Write();
   }
}

// One pass over the input for all outputs; an event that none wants isn't read whole.
void cloneAndFill(const char *in, const std::vector<std::string> &outs, const std::vector<std::string> &cuts)
{
   std::unique_ptr<TFile> input(TFile::Open(in));
   auto tree = input->Get<TTree>("Events");
   std::vector<std::unique_ptr<TFile>> files;
   std::vector<TTree *> made;
   std::vector<std::unique_ptr<TTreeFormula>> formulas;
   for (size_t i = 0; i < outs.size(); ++i) {
      formulas.emplace_back(new TTreeFormula(Form("cut%zu", i), cuts[i].c_str(), tree));
      files.emplace_back(new TFile(outs[i].c_str(), "RECREATE", "", input->GetCompressionSettings()));
      made.push_back(tree->CloneTree(0));
   }
   for (Long64_t entry = 0; entry < tree->GetEntries(); ++entry) {
      tree->LoadTree(entry);
      bool read = false;
      for (size_t i = 0; i < made.size(); ++i) {
         if (!formulas[i]->EvalInstance())
            continue;
         if (!read)
            tree->GetEntry(entry);
         read = true;
         made[i]->Fill();
      }
   }
   for (auto &file : files)
      file->Write();
}
} // namespace peers
