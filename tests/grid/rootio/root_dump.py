"""Runs in a process of its own: ROOT prints every value of a tree, as bytes, one JSON line per branch.

``python root_dump.py FILE TREE OUT``; the lines hold name, title, class, counter and one hex string per entry.
"""

from __future__ import annotations

import json
import sys
import warnings

CODE = """
#include <cstdio>
template<class T> void put(std::string& o, const T& v) {
  auto p = (const unsigned char*)&v; char b[3];
  for (size_t i = 0; i < sizeof(T); i++) { snprintf(b, 3, "%02x", p[i]); o += b; }
}
void put(std::string& o, const std::string& v) { o += "'"; for (unsigned char c : v) put(o, c); o += "'"; }
template<class T> void put(std::string& o, const std::vector<T>& v) {
  o += "["; for (T x : v) { put(o, x); o += ","; } o += "]";
}
template<class T> std::vector<std::string> objects(TTree* t, const char* branch) {
  T* p = nullptr; t->SetBranchAddress(branch, &p);
  std::vector<std::string> all;
  auto b = t->GetBranch(branch);
  for (Long64_t i = 0; i < t->GetEntries(); i++) { b->GetEntry(i); std::string s; put(s, *p); all.push_back(s); }
  t->ResetBranchAddress(b);
  return all;
}
std::vector<std::string> leaves(TTree* t, const char* branch) {
  std::vector<std::string> all;
  auto b = t->GetBranch(branch); auto leaf = (TLeaf*)b->GetListOfLeaves()->At(0);
  auto count = leaf->GetLeafCount();
  for (Long64_t i = 0; i < t->GetEntries(); i++) {
    if (count) count->GetBranch()->GetEntry(i);
    b->GetEntry(i); std::string s; auto p = (const unsigned char*)leaf->GetValuePointer();
    size_t n = (size_t)leaf->GetLen() * leaf->GetLenType();
    if (!strcmp(leaf->ClassName(), "TLeafC")) n = strlen((const char*)p);
    for (size_t k = 0; k < n; k++) put(s, p[k]);
    all.push_back(s);
  }
  return all;
}
"""


def main(path: str, tree_name: str, out: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ROOT  # type: ignore[import-untyped, unused-ignore]
    ROOT.gInterpreter.Declare(CODE)
    file = ROOT.TFile(path)
    tree = file.Get(tree_name)
    with open(out, "w", encoding="utf-8") as lines:  # noqa: PTH123
        for branch in list(tree.GetListOfBranches()):
            leaf = branch.GetListOfLeaves().At(0)
            name, kind = branch.GetName(), leaf.GetTypeName()
            if leaf.ClassName() != "TLeafElement":
                values = ROOT.leaves(tree, name)
            elif "vector<string> >" in kind:
                continue  # ROOT has no dictionary for it without a compiler
            else:
                values = ROOT.objects[f"std::{kind}"](tree, name)
            counter = leaf.GetLeafCount()
            line = {
                "name": name,
                "title": branch.GetTitle(),
                "type": kind,
                "counter": counter.GetName() if counter else None,
                "values": [str(value) for value in values],
            }
            lines.write(json.dumps(line) + "\n")
    file.Close()


if __name__ == "__main__":
    main(*sys.argv[1:])
