"""ROOT makes trees of the kinds that it is told, and says whether others hold what they should.

What a branch holds in an entry follows from its kind and from the entry's number, so nobody has to remember it.
"""

from __future__ import annotations

from tests.grid.rootio.told import serve

KINDS = r"""
#include <TBits.h>
#include <TClonesArray.h>
#include <TFile.h>
#include <TFileMerger.h>
#include <TLorentzVector.h>
#include <TObjArray.h>
#include <TTree.h>
#include <TVector3.h>
#include <memory>
#include <string>
#include <vector>

unsigned mix(unsigned i, unsigned salt) {
   unsigned x = (i + 1) * 2654435761u ^ (salt + 7) * 2246822519u;
   x ^= x >> 15; x *= 3266489917u; x ^= x >> 13;
   return x;
}

struct Kind {
   std::string name;
   virtual ~Kind() = default;
   virtual void branch(TTree &tree, int basket, int split) = 0;
   virtual void attach(TTree &tree) = 0;
   virtual void fill(unsigned i) = 0;
   virtual bool same(unsigned i) = 0;
};

template <class T> struct Scalar : Kind {
   char letter; T value{}; Scalar(char l) : letter(l) {}
   static T of(unsigned i) { return (T)(int)mix(i, 1); }
   void branch(TTree &t, int basket, int) override {
      t.Branch(name.c_str(), &value, (name + "/" + letter).c_str(), basket); }
   void attach(TTree &t) override { t.SetBranchAddress(name.c_str(), &value); }
   void fill(unsigned i) override { value = of(i); }
   bool same(unsigned i) override { return value == of(i); }
};

template <class T> struct Fixed : Kind {
   char letter; T value[2][3]{}; Fixed(char l) : letter(l) {}
   static T of(unsigned i, unsigned k) { return (T)(int)mix(i, 10 + k); }
   void branch(TTree &t, int basket, int) override {
      t.Branch(name.c_str(), value, (name + "[2][3]/" + letter).c_str(), basket); }
   void attach(TTree &t) override { t.SetBranchAddress(name.c_str(), value); }
   void fill(unsigned i) override { for (unsigned k = 0; k < 6; k++) value[k / 3][k % 3] = of(i, k); }
   bool same(unsigned i) override {
      for (unsigned k = 0; k < 6; k++) if (value[k / 3][k % 3] != of(i, k)) return false;
      return true; }
};

template <class T> struct Counted : Kind {
   char letter; int count = 0; T value[8]{}; Counted(char l) : letter(l) {}
   static int many(unsigned i) { return mix(i, 2) % 8; }
   static T of(unsigned i, int k) { return (T)(int)mix(i, 20 + k); }
   void branch(TTree &t, int basket, int) override {
      t.Branch((name + "_n").c_str(), &count, (name + "_n/I").c_str(), basket);
      t.Branch(name.c_str(), value, (name + "[" + name + "_n]/" + letter).c_str(), basket); }
   void attach(TTree &t) override {
      t.SetBranchAddress((name + "_n").c_str(), &count); t.SetBranchAddress(name.c_str(), value); }
   void fill(unsigned i) override { count = many(i); for (int k = 0; k < count; k++) value[k] = of(i, k); }
   bool same(unsigned i) override {
      if (count != many(i)) return false;
      for (int k = 0; k < count; k++) if (value[k] != of(i, k)) return false;
      return true; }
};

struct Leaves : Kind {
   struct { double d; int i; float f; } value{};
   void branch(TTree &t, int basket, int) override { t.Branch(name.c_str(), &value, "d/D:i/I:f/F", basket); }
   void attach(TTree &t) override { t.SetBranchAddress(name.c_str(), &value); }
   void fill(unsigned i) override { value.d = mix(i, 3); value.i = mix(i, 4); value.f = mix(i, 5); }
   bool same(unsigned i) override {
      return value.d == (double)mix(i, 3) && value.i == (int)mix(i, 4) && value.f == (float)mix(i, 5); }
};

struct Letters : Kind {
   char value[400]{};
   static std::string of(unsigned i) { return std::string(mix(i, 6) % 300, 'a' + i % 26); }
   void branch(TTree &t, int basket, int) override { t.Branch(name.c_str(), value, (name + "/C").c_str(), basket); }
   void attach(TTree &t) override { t.SetBranchAddress(name.c_str(), value); }
   void fill(unsigned i) override { strcpy(value, of(i).c_str()); }
   bool same(unsigned i) override { return of(i) == value; }
};

void make(std::string &v, unsigned i) { v = std::string(mix(i, 7) % 400, 'A' + i % 26); }
void make(TVector3 &v, unsigned i) { v.SetXYZ(mix(i, 8), i, -(double)i); }
void make(TLorentzVector &v, unsigned i) { v.SetPxPyPzE(i, mix(i, 8), 3, 4. * i); }
void make(TBits &v, unsigned i) {
   v.Clear(); for (unsigned k = 0; k < mix(i, 9) % 70; k++) v.SetBitNumber(k, k % 3 == 0); }
template <class T> void make(T &v, unsigned i) { v = (T)(int)mix(i, 11); }
template <class T> void make(std::vector<T> &v, unsigned i) {
   v.clear(); for (unsigned k = 0; k < mix(i, 12) % 6; k++) { T one{}; make(one, i + 31 * k); v.push_back(one); } }
void make(std::vector<bool> &v, unsigned i) {
   v.clear(); for (unsigned k = 0; k < mix(i, 13) % 9; k++) v.push_back(mix(i, k) % 2); }

// ROOT may delete an object, and put another in its place, so it alone owns them; what it leaves is never freed.
template <class T> struct Object : Kind {
   T *value = new T;
   void branch(TTree &t, int basket, int split) override { t.Branch(name.c_str(), &value, basket, split); }
   void attach(TTree &t) override { t.SetBranchAddress(name.c_str(), &value); }
   void fill(unsigned i) override { make(*value, i); }
   bool same(unsigned i) override { T wanted{}; make(wanted, i); return *value == wanted; }
};

struct Clones : Kind {
   TClonesArray *value = new TClonesArray("TVector3");
   void branch(TTree &t, int basket, int split) override { t.Branch(name.c_str(), &value, basket, split); }
   void attach(TTree &t) override { t.SetBranchAddress(name.c_str(), &value); }
   void fill(unsigned i) override {
      value->Clear();
      for (unsigned k = 0; k < mix(i, 14) % 4; k++) make(*(TVector3 *)value->ConstructedAt(k), i + k); }
   bool same(unsigned i) override {
      if (value->GetEntriesFast() != (int)(mix(i, 14) % 4)) return false;
      for (int k = 0; k < value->GetEntriesFast(); k++) {
         TVector3 wanted; make(wanted, i + k); if (*(TVector3 *)value->At(k) != wanted) return false; }
      return true; }
};

// Each names its class, or where that was named before in the same entry.
struct Pointers : Kind {
   TObjArray *value = new TObjArray;
   static int many(unsigned i) { return mix(i, 15) % 4; }
   void branch(TTree &t, int basket, int) override { t.Branch(name.c_str(), &value, basket, 0); }
   void attach(TTree &t) override { t.SetBranchAddress(name.c_str(), &value); }
   void fill(unsigned i) override {
      value->Clear();
      for (int k = 0; k < many(i); k++) {
         auto one = new TVector3; make(*one, i + k); value->Add(one);
         auto two = new TLorentzVector; make(*two, i + k); value->Add(two); } }
   bool same(unsigned i) override {
      if (value->GetEntries() != 2 * many(i)) return false;
      for (int k = 0; k < many(i); k++) {
         TVector3 one; make(one, i + k); TLorentzVector two; make(two, i + k);
         if (*(TVector3 *)value->At(2 * k) != one || *(TLorentzVector *)value->At(2 * k + 1) != two) return false; }
      return true; }
};

Kind *kind_of(const std::string &what) {
   const char letter = what.back();
   const std::string shape = what.substr(0, what.size() - 2);
#define OF(l, T) if (letter == l) { if (shape == "scalar") return new Scalar<T>(l); \
   if (shape == "fixed") return new Fixed<T>(l); if (shape == "counted") return new Counted<T>(l); }
   OF('B', char) OF('b', unsigned char) OF('S', short) OF('s', unsigned short) OF('I', int) OF('i', unsigned)
   OF('L', Long64_t) OF('l', ULong64_t) OF('F', float) OF('D', double) OF('O', bool)
   if (what == "leaves") return new Leaves;
   if (what == "letters") return new Letters;
   if (what == "clones") return new Clones;
   if (what == "pointers") return new Pointers;
#define OBJECT(n, ...) if (what == n) return new Object<__VA_ARGS__>;
   OBJECT("string", std::string) OBJECT("ints", std::vector<int>) OBJECT("floats", std::vector<float>)
   OBJECT("bits of flags", std::vector<bool>) OBJECT("shorts", std::vector<unsigned short>)
   OBJECT("strings", std::vector<std::string>) OBJECT("lists", std::vector<std::vector<float>>)
   OBJECT("vector3", TVector3) OBJECT("lorentz", TLorentzVector) OBJECT("bits", TBits)
   throw std::runtime_error("no such kind: " + what);
}

struct All {
   std::vector<std::unique_ptr<Kind>> kinds;
   int run = 1, section = 0, event = 0; bool fired[2]{};
   All(const std::vector<std::string> &every) {
      for (size_t k = 0; k < every.size(); k++) if (!every[k].empty()) {
         kinds.emplace_back(kind_of(every[k])); kinds.back()->name = "b" + std::to_string(k + 1); } }
   void branch(TTree &t, int basket, int split) {
      t.Branch("run", &run, "run/I", basket); t.Branch("luminosityBlock", &section, "luminosityBlock/I", basket);
      t.Branch("event", &event, "event/I", basket);
      t.Branch("HLT_A", &fired[0], "HLT_A/O", basket); t.Branch("HLT_B", &fired[1], "HLT_B/O", basket);
      for (auto &one : kinds) one->branch(t, basket, split); }
   void attach(TTree &t) { t.SetBranchAddress("event", &event); for (auto &one : kinds) one->attach(t); }
   void fill(unsigned i) {
      section = i / 10; event = i; fired[0] = i % 2 == 0; fired[1] = i % 3 == 0;
      for (auto &one : kinds) one->fill(i); }
};

void write(const char *path, const std::vector<std::string> &every, unsigned first, unsigned entries,
           int compression, int basket, int split, long flush, bool embedded, bool generated) {
   TFile file(path, "recreate", "", compression);
   TTree tree("Events", "made to order");
   tree.SetAutoFlush(flush);
   if (generated) {
      ROOT::TIOFeatures features; features.Set(ROOT::Experimental::EIOFeatures::kGenerateOffsetMap);
      tree.SetIOFeatures(features); }
   All all(every);
   all.branch(tree, basket, split);
   for (unsigned i = first; i < first + entries; i++) { all.fill(i); tree.Fill(); }
   if (embedded) file.WriteTObject(&tree);  // what was not flushed stays inside the tree
   else tree.Write();
   tree.ResetBranchAddresses();
   tree.SetDirectory(nullptr);
}

std::string differs(const char *path, const std::vector<std::string> &every, const std::vector<unsigned> &wanted) {
   std::unique_ptr<TFile> file{TFile::Open(path)};
   auto tree = file ? file->Get<TTree>("Events") : nullptr;
   if (!tree) return "there is no tree";
   if (tree->GetEntries() != (Long64_t)wanted.size())
      return std::to_string(tree->GetEntries()) + " entries for " + std::to_string(wanted.size());
   All all(every);
   all.attach(*tree);
   std::string answer;
   for (size_t k = 0; k < wanted.size() && answer.empty(); k++) {
      const std::string here = "entry " + std::to_string(k);
      if (tree->GetEntry(k) <= 0) answer = here + " can't be read";
      else if (all.event != (int)wanted[k]) answer = here + " is event " + std::to_string(all.event);
      else for (auto &one : all.kinds) if (!one->same(wanted[k])) answer += here + " of " + one->name + " differs; ";
   }
   tree->ResetBranchAddresses();
   return answer;
}

bool join(const char *out, const std::vector<std::string> &paths) {
   TFileMerger merger(false);
   merger.SetFastMethod(true);
   if (!merger.OutputFile(out, "recreate", 404)) return false;
   for (auto &path : paths) if (!merger.AddFile(path.c_str(), false)) return false;
   return merger.Merge();
}
"""

#: What a branch can be: letters of plain types in several shapes, and objects.
PLAIN = tuple(f"{shape} {letter}" for shape in ("scalar", "fixed", "counted") for letter in "BbSsIiLlFDO")
OBJECTS = (
    "leaves",
    "letters",
    "string",
    "ints",
    "floats",
    "bits of flags",
    "shorts",
    "strings",
    "lists",
    "vector3",
    "lorentz",
    "bits",
    "clones",
    "pointers",
)


if __name__ == "__main__":
    serve(KINDS, ("RIO", "Tree", "Physics"))
