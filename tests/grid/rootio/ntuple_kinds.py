"""ROOT makes RNTuples of the types that it is told, and says whether others hold what they should.

A type is C++ as it is spelled, or one of :data:`SPECIAL`. What a field holds in an entry follows from its type and from
the entry's number, so nobody has to remember it; an entry that was written before the field was added holds nothing.
"""

from __future__ import annotations

from tests.grid.rootio.told import serve

CODE = r"""
#include <ROOT/RField.hxx>
#include <ROOT/RNTupleMerger.hxx>
#include <ROOT/RNTupleModel.hxx>
#include <ROOT/RNTupleReader.hxx>
#include <ROOT/RNTupleWriter.hxx>
#include <ROOT/RNTupleWriteOptions.hxx>
#include <ROOT/RVec.hxx>
#include <TFile.h>
#include <TFileMerger.h>
#include <TInterpreter.h>
#include <TVector3.h>
#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

unsigned mix(unsigned i, unsigned salt) {
   unsigned x = (i + 1) * 2654435761u ^ (salt + 7) * 2246822519u;
   x ^= x >> 15; x *= 3266489917u; x ^= x >> 13;
   return x;
}

// Colours and animals, as users have them.
enum class Colour : short { red, green, blue = 700, none = -1 };
enum Size { small, large };
struct Animal {
   int legs = 0; bool tame = false;
   bool operator==(const Animal &o) const { return legs == o.legs && tame == o.tame; }
};
struct Bird : Animal {
   std::vector<float> song; std::string name; Colour colour = Colour::red; std::array<Animal, 2> young{};
   bool operator==(const Bird &o) const {
      return Animal::operator==(o) && song == o.song && name == o.name && colour == o.colour && young == o.young; }
};

// What a value is, given a number; a default one where nothing was written.
template <class T> struct Equal { static bool same(const T &a, const T &b) { return a == b; } };
template <class T> struct Value : Equal<T> {
   static void make(T &v, unsigned i) {
      if constexpr (std::is_enum_v<T>) v = mix(i, 1) % 2 ? T(0) : T(1);
      else if constexpr (sizeof(T) == 8 && std::is_integral_v<T>) v = (T)((std::uint64_t)mix(i, 1) << 32 | mix(i, 2));
      else v = (T)(int)mix(i, 1); }
};
template <> struct Value<bool> : Equal<bool> {
   static void make(bool &v, unsigned i) { v = mix(i, 3) % 3 == 0; } };
template <> struct Value<std::byte> : Equal<std::byte> {
   static void make(std::byte &v, unsigned i) { v = std::byte(mix(i, 3) % 256); } };
template <> struct Value<std::string> : Equal<std::string> {
   static void make(std::string &v, unsigned i) { v = std::string(mix(i, 4) % 5 * (mix(i, 5) % 5), 'A' + i % 26); } };
template <> struct Value<Animal> : Equal<Animal> {
   static void make(Animal &v, unsigned i) { v.legs = mix(i, 6); v.tame = i % 2; } };
template <> struct Value<TVector3> : Equal<TVector3> {
   static void make(TVector3 &v, unsigned i) { v.SetXYZ(mix(i, 6), i, -(double)i); } };
template <std::size_t N> struct Value<std::bitset<N>> : Equal<std::bitset<N>> {
   static void make(std::bitset<N> &v, unsigned i) { for (std::size_t k = 0; k < N; k++) v[k] = mix(i, k) % 2; } };
template <class List> struct Listed {
   static void make(List &v, unsigned i) {
      v.clear(); v.resize(mix(i, 7) % 4);
      for (std::size_t k = 0; k < v.size(); k++) Value<typename List::value_type>::make(v[k], i + 31 * k); }
   static bool same(const List &a, const List &b) {
      if (a.size() != b.size()) return false;
      for (std::size_t k = 0; k < a.size(); k++)
         if (!Value<typename List::value_type>::same(a[k], b[k])) return false;
      return true; } };
template <class T> struct Value<std::vector<T>> : Listed<std::vector<T>> {};
template <class T> struct Value<ROOT::RVec<T>> : Listed<ROOT::RVec<T>> {};
template <> struct Value<std::vector<bool>> : Equal<std::vector<bool>> {
   static void make(std::vector<bool> &v, unsigned i) {
      v.clear(); for (unsigned k = 0; k < mix(i, 8) % 11; k++) v.push_back(mix(i, k) % 2); } };
template <class T, std::size_t N> struct Value<std::array<T, N>> {
   static void make(std::array<T, N> &v, unsigned i) {
      for (std::size_t k = 0; k < N; k++) Value<T>::make(v[k], i + 37 * k); }
   static bool same(const std::array<T, N> &a, const std::array<T, N> &b) {
      for (std::size_t k = 0; k < N; k++) if (!Value<T>::same(a[k], b[k])) return false;
      return true; } };
template <class A, class B> struct Value<std::pair<A, B>> {
   using Key = std::remove_const_t<A>;
   static void make(std::pair<A, B> &v, unsigned i) {
      Value<Key>::make(const_cast<Key &>(v.first), i); Value<B>::make(v.second, i + 41); }
   static bool same(const std::pair<A, B> &a, const std::pair<A, B> &b) {
      return Value<Key>::same(a.first, b.first) && Value<B>::same(a.second, b.second); } };
template <class... T> struct Value<std::tuple<T...>> {
   using All = std::tuple<T...>;
   static void make(All &v, unsigned i) {
      std::apply([&](auto &...one) { (Value<std::decay_t<decltype(one)>>::make(one, i++), ...); }, v); }
   static bool same(const All &a, const All &b) { return same(a, b, std::index_sequence_for<T...>{}); }
   template <std::size_t... K> static bool same(const All &a, const All &b, std::index_sequence<K...>) {
      return (Value<T>::same(std::get<K>(a), std::get<K>(b)) && ...); } };
template <class... T> struct Value<std::variant<T...>> {
   template <std::size_t K> static void choose(std::variant<T...> &v, unsigned i) {
      if constexpr (K < sizeof...(T)) {
         if (mix(i, 9) % sizeof...(T) != K) return choose<K + 1>(v, i);
         std::variant_alternative_t<K, std::variant<T...>> one{};
         Value<decltype(one)>::make(one, i); v.template emplace<K>(std::move(one)); } }
   static void make(std::variant<T...> &v, unsigned i) { choose<0>(v, i); }
   template <std::size_t K> static bool same(const std::variant<T...> &a, const std::variant<T...> &b) {
      if constexpr (K < sizeof...(T)) {
         if (a.index() != K) return same<K + 1>(a, b);
         return Value<std::variant_alternative_t<K, std::variant<T...>>>::same(std::get<K>(a), std::get<K>(b)); }
      return true; }
   static bool same(const std::variant<T...> &a, const std::variant<T...> &b) {
      return a.index() == b.index() && same<0>(a, b); } };
template <class T> struct Value<std::optional<T>> {
   static void make(std::optional<T> &v, unsigned i) { v.reset(); if (mix(i, 10) % 3) Value<T>::make(v.emplace(), i); }
   static bool same(const std::optional<T> &a, const std::optional<T> &b) {
      return a.has_value() == b.has_value() && (!a || Value<T>::same(*a, *b)); } };
template <class T> struct Value<std::unique_ptr<T>> {
   static void make(std::unique_ptr<T> &v, unsigned i) {
      v.reset(); if (mix(i, 11) % 3) { v = std::make_unique<T>(); Value<T>::make(*v, i); } }
   static bool same(const std::unique_ptr<T> &a, const std::unique_ptr<T> &b) {
      return !a == !b && (!a || Value<T>::same(*a, *b)); } };
template <class T> struct Value<std::atomic<T>> {
   static void make(std::atomic<T> &v, unsigned i) { T one{}; Value<T>::make(one, i); v = one; }
   static bool same(const std::atomic<T> &a, const std::atomic<T> &b) { return a.load() == b.load(); } };
template <class Set> struct Keyed : Equal<Set> {
   static void make(Set &v, unsigned i) {
      v.clear();
      for (unsigned k = 0; k < mix(i, 12) % 4; k++) {
         typename Set::value_type one{}; Value<typename Set::value_type>::make(one, i + 43 * k); v.insert(one); } } };
template <class T> struct Value<std::set<T>> : Keyed<std::set<T>> {};
template <class T> struct Value<std::multiset<T>> : Keyed<std::multiset<T>> {};
template <class T> struct Value<std::unordered_set<T>> : Keyed<std::unordered_set<T>> {};
template <class K, class T> struct Value<std::map<K, T>> : Keyed<std::map<K, T>> {};
template <class K, class T> struct Value<std::multimap<K, T>> : Keyed<std::multimap<K, T>> {};
template <class K, class T> struct Value<std::unordered_map<K, T>> : Keyed<std::unordered_map<K, T>> {};
template <> struct Value<Bird> : Equal<Bird> {
   static void make(Bird &v, unsigned i) {
      Value<Animal>::make(v, i);
      Value<std::vector<float>>::make(v.song, i + 1); Value<std::string>::make(v.name, i + 2);
      v.colour = i % 3 ? Colour::blue : Colour::none; Value<std::array<Animal, 2>>::make(v.young, i + 3); } };

using Field = std::unique_ptr<ROOT::RFieldBase>;

struct Kind {
   std::string name, type;
   virtual ~Kind() = default;
   virtual Field field() { return ROOT::RFieldBase::Create(name, type).Unwrap(); }
   virtual Field to_read() { return field(); }
   virtual void *place() = 0;
   virtual void fill(unsigned i) = 0;
   virtual bool same(unsigned i) = 0;
   virtual bool blank() = 0;
};

template <class T> struct Of : Kind {
   T value{};
   void *place() override { return &value; }
   void fill(unsigned i) override { Value<T>::make(value, i); }
   bool same(unsigned i) override { T wanted{}; Value<T>::make(wanted, i); return Value<T>::same(value, wanted); }
   bool blank() override { return Value<T>::same(value, T{}); }
};
// Numbers of which not all bits are kept; all that are used here survive it.
struct Rounded : Kind {
   std::string how; float value = 0;
   Rounded(std::string h) : how(h) {}
   static float of(unsigned i) { return mix(i, 13) % 128 * 2; }
   Field field() override {
      auto made = std::make_unique<ROOT::RField<float>>(name);
      if (how == "half") made->SetHalfPrecision();
      if (how == "truncated") made->SetTruncated(19);
      if (how == "truncated otherwise") made->SetTruncated(21);
      if (how == "quantized") made->SetQuantized(10, {-1, 1022});
      if (how == "quantized otherwise") made->SetQuantized(10, {0, 2046});
      return made; }
   Field to_read() override { return std::make_unique<ROOT::RField<float>>(name); }
   void *place() override { return &value; }
   void fill(unsigned i) override { value = of(i); }
   bool same(unsigned i) override { return std::abs(value - of(i)) < 1e-3; }
   bool blank() override { return value == 0; }
};
struct Narrow : Of<double> {
   Field to_read() override { return std::make_unique<ROOT::RField<double>>(name); }
   Field field() override {
      auto made = std::make_unique<ROOT::RField<double>>(name); made->SetDouble32(); return made; }
   void fill(unsigned i) override { value = mix(i, 14) % 1000 * 0.5; }
   bool same(unsigned i) override { return value == mix(i, 14) % 1000 * 0.5; }
};

// Records that no class describes, alone and as the items of a list; in memory they are like a struct.
struct Row {
   int a = 0; double b = 0; std::string c; std::vector<short> d;
   bool operator==(const Row &o) const { return a == o.a && b == o.b && c == o.c && d == o.d; }
   static Field field(const std::string &name) {
      std::vector<Field> items;
      items.emplace_back(new ROOT::RField<int>("a")); items.emplace_back(new ROOT::RField<double>("b"));
      items.emplace_back(new ROOT::RField<std::string>("c"));
      items.emplace_back(new ROOT::RField<std::vector<short>>("d"));
      return std::make_unique<ROOT::RRecordField>(name, std::move(items)); }
};
template <> struct Value<Row> : Equal<Row> {
   static void make(Row &v, unsigned i) {
      v.a = mix(i, 15); v.b = i; Value<std::string>::make(v.c, i); Value<std::vector<short>>::make(v.d, i); } };
struct Record : Of<Row> { Field field() override { return Row::field(name); } };
struct Records : Of<std::vector<Row>> {
   Field field() override { return ROOT::RVectorField::CreateUntyped(name, Row::field("_0")); } };
struct Streamed : Of<TVector3> {
   Field field() override { return std::make_unique<ROOT::RStreamerField>(name, "TVector3"); } };

Kind *kind_of(const std::string &what) {
   for (auto how : {"plain", "half", "truncated", "truncated otherwise", "quantized", "quantized otherwise"})
      if (what == how) return new Rounded(what);
   if (what == "narrow") return new Narrow;
   if (what == "record") return new Record;
   if (what == "records") return new Records;
   if (what == "streamed") return new Streamed;
   static std::map<std::string, Kind *(*)()> known;
   if (!known.count(what)) {
      const auto maker = "make_kind" + std::to_string(known.size());
      if (!gInterpreter->Declare(("Kind *" + maker + "() { return new Of<" + what + ">; }").c_str()))
         throw std::runtime_error("no such type: " + what);
      known[what] = (Kind * (*)()) gInterpreter->ProcessLine(("(long)&" + maker + ";").c_str());
   }
   auto made = known[what]();
   made->type = what;
   return made;
}

using Names = std::vector<std::string>;

struct All {
   std::vector<std::unique_ptr<Kind>> usual, late;
   std::uint32_t run = 1, section = 0; std::uint64_t event = 0; bool fired[2]{};
   bool known;
   All(const Names &first, const Names &added, bool identity) : known(identity) {
      auto add = [](auto &to, const std::string &what, const char *letter) {
         to.emplace_back(kind_of(what)); to.back()->name = letter + std::to_string(to.size()); };
      for (auto &what : first) add(usual, what, "b");
      for (auto &what : added) add(late, what, "l");
   }
   // how fields are written: as ROOT likes it, or each number's bytes together (1, 2); or to be read (-1)
   static Field turned(Field field, int turn) {
      if (turn <= 0) return field;
      std::vector<ROOT::RFieldBase *> every{field.get()};
      for (auto &one : *field) every.push_back(&one);
      for (auto one : every) {
         auto columns = one->GetColumnRepresentatives()[0];
         using E = ROOT::ENTupleColumnType;
         static const std::map<E, E> other{
            {E::kSplitInt16, E::kInt16}, {E::kSplitInt32, E::kInt32}, {E::kSplitInt64, E::kInt64},
            {E::kSplitUInt16, E::kUInt16}, {E::kSplitUInt32, E::kUInt32}, {E::kSplitUInt64, E::kUInt64},
            {E::kSplitReal32, E::kReal32}, {E::kSplitReal64, E::kReal64}, {E::kSplitIndex64, E::kIndex64}};
         for (auto &column : columns) {
            if (turn == 2 && column == E::kSplitIndex64) column = E::kSplitIndex32;
            if (other.count(column)) column = other.at(column); }
         try { one->SetColumnRepresentatives({columns}); } catch (const ROOT::RException &) {} }
      return field; }
   template <class Model> static void counted(Model &model, const std::string &name) {
      auto count = ROOT::RFieldBase::Create("n" + name, "ROOT::RNTupleCardinality<std::uint32_t>").Unwrap();
      model.AddProjectedField(std::move(count), [&](const std::string &) { return name; }); }
   template <class Model> void describe(Model &model, std::vector<std::unique_ptr<Kind>> &some, int turn) {
      for (auto &one : some) {
         model.AddField(turn < 0 ? one->to_read() : turned(one->field(), turn));
         if (turn >= 0 && one->type.rfind("std::vector<", 0) == 0) counted(model, one->name); } }
   std::unique_ptr<ROOT::RNTupleModel> model(int turn, bool whole) {
      auto made = ROOT::RNTupleModel::CreateBare();
      if (known) {
         made->AddField(std::make_unique<ROOT::RField<std::uint32_t>>("run"));
         made->AddField(std::make_unique<ROOT::RField<std::uint32_t>>("luminosityBlock"));
         made->AddField(turned(std::make_unique<ROOT::RField<std::uint64_t>>("event"), turn)); }
      made->AddField(std::make_unique<ROOT::RField<bool>>("HLT_A"));
      made->AddField(std::make_unique<ROOT::RField<bool>>("HLT_B"));
      describe(*made, usual, turn);
      if (whole) describe(*made, late, turn);
      return made; }
   void bind(ROOT::REntry &entry, bool whole) {
      if (known) {
         entry.BindRawPtr("run", (void *)&run); entry.BindRawPtr("luminosityBlock", (void *)&section);
         entry.BindRawPtr("event", (void *)&event); }
      entry.BindRawPtr("HLT_A", (void *)&fired[0]); entry.BindRawPtr("HLT_B", (void *)&fired[1]);
      for (auto &one : usual) entry.BindRawPtr(one->name, one->place());
      if (whole) for (auto &one : late) entry.BindRawPtr(one->name, one->place()); }
   void fill(unsigned i) {
      section = i / 10; event = i; fired[0] = i % 2 == 0; fired[1] = i % 3 == 0;
      for (auto &one : usual) one->fill(i);
      for (auto &one : late) one->fill(i); }
};

// `late`: the entry before which the late fields are added; none: -1, all along: -2. `cluster`: entries of one;
// `group`: clusters of a group.
void write(const char *path, const Names &usual, const Names &late, bool identity, unsigned first, int entries,
           int compression, int page, int cluster, int group, bool sealed, bool buffered, int turn, int at) {
   ROOT::RNTupleWriteOptions options;
   options.SetCompression(compression);
   options.SetInitialUnzippedPageSize(std::min(page, 64));
   options.SetMaxUnzippedPageSize(page);
   options.SetEnablePageChecksums(sealed);
   if (sealed) options.SetEnableSamePageMerging(turn != 1);
   options.SetUseBufferedWrite(buffered);
   All all(usual, late, identity);
   auto writer = ROOT::RNTupleWriter::Recreate(all.model(turn, at == -2), "Events", path, options);
   auto extend = [&] {
      auto updater = writer->CreateModelUpdater();
      updater->BeginUpdate(); all.describe(*updater, all.late, turn); updater->CommitUpdate(); };
   if (at == 0) extend();
   auto entry = writer->GetModel().CreateBareEntry();
   all.bind(*entry, at == -2 || at == 0);
   for (int i = 0; i < entries; i++) {
      if (i && i == at) { extend(); entry = writer->GetModel().CreateBareEntry(); all.bind(*entry, true); }
      all.fill(first + i);
      writer->Fill(*entry);
      if (cluster && i % cluster == cluster - 1) writer->CommitCluster(group && i / cluster % group == group - 1);
   }
}

// `blank` says for each entry whether it was written before the late fields were there; `whole` whether they are.
std::string differs(const char *path, const Names &usual, const Names &late, bool identity, bool whole,
                    const std::vector<unsigned> &wanted, const std::vector<int> &blank) {
   All all(usual, late, identity);
   try {
      auto reader = ROOT::RNTupleReader::Open(all.model(-1, whole), "Events", path);
      if (reader->GetNEntries() != wanted.size())
         return std::to_string(reader->GetNEntries()) + " entries for " + std::to_string(wanted.size());
      auto entry = reader->GetModel().CreateBareEntry();
      all.bind(*entry, whole);
      for (std::size_t k = 0; k < wanted.size(); k++) {
         std::string here = "entry " + std::to_string(k), answer;
         reader->LoadEntry(k, *entry);
         if (identity && all.event != wanted[k]) answer = here + " is event " + std::to_string(all.event);
         const bool fired[]{wanted[k] % 2 == 0, wanted[k] % 3 == 0};
         if (all.fired[0] != fired[0] || all.fired[1] != fired[1]) answer += here + " has other bits; ";
         for (auto &one : all.usual) if (!one->same(wanted[k])) answer += here + " of " + one->name + " differs; ";
         if (whole) for (auto &one : all.late)
            if (!(blank[k] ? one->blank() : one->same(wanted[k]))) answer += here + " of " + one->name + " differs; ";
         if (!answer.empty()) return answer;
      }
   } catch (const std::exception &error) { return error.what(); }
   return "";
}

// How many entries hold what an earlier one does.
int repeated(const Names &usual, const Names &late, const std::vector<unsigned> &wanted,
             const std::vector<int> &blank) {
   All all(usual, late, false);
   int found = 0;
   for (std::size_t k = 0; k < wanted.size(); k++) {
      const unsigned i = wanted[k];
      all.fill(i);
      auto same = [&](std::size_t j) {
         if ((wanted[j] - i) % 2 || (wanted[j] % 3 == 0) != (i % 3 == 0)) return false;
         for (auto &one : all.usual) if (!one->same(wanted[j])) return false;
         for (auto &one : all.late) {
            if (blank[k] && blank[j]) continue;
            if (blank[k]) one->fill(wanted[j]);
            const bool equal = blank[k] || blank[j] ? one->blank() : one->same(wanted[j]);
            if (blank[k]) one->fill(i);
            if (!equal) return false; }
         return true; };
      for (std::size_t j = 0; j < k; j++) if (same(j)) { found++; break; }
   }
   return found;
}

bool join(const char *out, const Names &paths, int compression) {
   TFileMerger merger(false);
   merger.SetFastMethod(true);
   if (!merger.OutputFile(out, "recreate", compression)) return false;
   for (auto &path : paths) if (!merger.AddFile(path.c_str(), false)) return false;
   return merger.Merge();
}
"""

#: What can't be added late: ROOT refuses to write the one, and can't hold a choice of nothing, which it reads.
NEVER_LATE = ("streamed", "std::variant<")
#: Types of one value, and what else a type can be here.
PLAIN = (
    "bool",
    "char",
    "std::byte",
    *(f"std::{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    "float",
    "double",
    "std::string",
)
SPECIAL = ("half", "truncated", "quantized", "narrow", "record", "records", "streamed")
#: Types that are made of others.
NESTED = (
    "std::vector<float>",
    "std::vector<std::string>",
    "std::vector<std::vector<std::int16_t>>",
    "std::vector<std::vector<std::vector<double>>>",
    "std::vector<bool>",
    "std::vector<std::vector<bool>>",
    "ROOT::RVec<float>",
    "std::array<float, 3>",
    "std::array<bool, 5>",
    "std::array<std::array<std::uint8_t, 2>, 3>",
    "std::array<std::vector<std::int32_t>, 2>",
    "std::vector<std::array<std::string, 2>>",
    "std::bitset<11>",
    "std::bitset<70>",
    "std::vector<std::bitset<9>>",
    "std::pair<float, std::string>",
    "std::vector<std::pair<float, std::vector<char>>>",
    "std::tuple<std::int32_t, std::string, double>",
    "std::variant<std::int32_t, std::string>",
    "std::variant<std::vector<float>, bool, std::array<std::int16_t, 2>>",
    "std::vector<std::variant<std::int8_t, std::vector<double>>>",
    "std::optional<double>",
    "std::optional<std::vector<std::uint16_t>>",
    "std::vector<std::optional<std::string>>",
    "std::unique_ptr<float>",
    # only those that ROOT itself has dictionaries of can be written without compiling some
    "std::map<std::string, float>",
    "std::map<std::string, std::string>",
    "std::vector<std::map<std::int32_t, std::int32_t>>",
    "std::multimap<std::string, std::int32_t>",
    "std::unordered_map<std::int64_t, double>",
    "std::set<std::int32_t>",
    "std::multiset<std::string>",
    "std::optional<std::unordered_set<double>>",
    "std::atomic<std::int32_t>",
    "std::atomic<bool>",
    "Colour",
    "Size",
    "std::vector<Colour>",
    "Animal",
    "Bird",
    "std::vector<Bird>",
    "std::optional<Bird>",
)


if __name__ == "__main__":
    serve(CODE, ("ROOTNTuple", "ROOTNTupleUtil", "Physics"))
