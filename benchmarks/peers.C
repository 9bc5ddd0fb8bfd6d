// A loop over events that is too short to be written in Python. Called by benchmarks/peers.py.

#include <memory>
#include <string>
#include <vector>

#include "TFile.h"
#include "TTree.h"
#include "TTreeFormula.h"

namespace peers {

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
