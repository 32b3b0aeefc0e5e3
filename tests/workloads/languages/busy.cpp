// Takes a C++ compiler a second or two, and deep stacks: nested templates, std::regex, std::function.
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <regex>
#include <string>
#include <vector>

template <int N> struct Nested {
	static std::string text(const std::string &s) { return Nested<N - 1>::text(s + std::to_string(N)); }
};
template <> struct Nested<0> {
	static std::string text(const std::string &s) { return s; }
};

int main()
{
	std::map<std::string, std::vector<std::function<int(int)>>> table;
	std::regex pattern("(a|b)*c[0-9]+");
	std::smatch match;
	std::string text = Nested<200>::text("x");
	if (std::regex_search(text, match, pattern))
		std::cout << match[0];
	table["a"].push_back([](int x) { return x + 1; });
	std::cout << table.size() + text.size();
}
