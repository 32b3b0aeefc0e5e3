import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.HashMap;
import java.util.Map;

/** Burns some seconds of CPU in code that the JIT compiles, in its compiler, and in the garbage collector. */
public class Busy {
    static int fib(int n) {
        return n < 2 ? n : fib(n - 1) + fib(n - 2);
    }

    public static void main(String[] arguments) {
        ThreadMXBean thread = ManagementFactory.getThreadMXBean();
        double until = Double.parseDouble(arguments[0]) * 1e9;
        long sum = 0;
        while (thread.getCurrentThreadCpuTime() < until) {
            sum += fib(20);
            Map<String, Integer> counts = new HashMap<>();
            for (int i = 0; i < 1000; i++) {
                counts.merge("key" + i % 77, 1, Integer::sum);
            }
            sum += counts.size();
        }
        System.out.println(sum);
    }
}
