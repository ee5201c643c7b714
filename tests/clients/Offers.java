import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * Calls a gateway as Java programs do, with the default client, which offers HTTP/2 with its first requests.
 * Usage: java Offers.java URL. Prints one line for each answer: version, status, body.
 */
public class Offers {
    static HttpRequest.Builder post(String url) {
        return HttpRequest.newBuilder(URI.create(url)).header("Content-Type", "application/json");
    }

    public static void main(String[] arguments) throws Exception {
        String url = arguments[0] + "/v1/models/iris/predict";
        HttpClient client = HttpClient.newHttpClient();
        List<CompletableFuture<String>> answers = new ArrayList<>();
        // At once, so that many connections begin with an offer, each with another kind of body.
        for (int number = 0; number < 60; number++) {
            String rows = "[[" + number + ", 2, 3, 4]]";
            HttpRequest.Builder builder = post(url);
            if (number % 4 == 0) {
                builder.POST(BodyPublishers.ofString(rows));
            } else if (number % 4 == 1) { // of unknown length, so in chunks
                builder.POST(BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(rows.getBytes())));
            } else if (number % 4 == 2) {
                builder.POST(BodyPublishers.ofString(rows + " ".repeat(100_000))).expectContinue(true);
            } else {
                builder.POST(BodyPublishers.ofString(rows + " ".repeat(1_000_000)));
            }
            answers.add(client.sendAsync(builder.build(), BodyHandlers.ofString())
                .thenApply(answer -> answer.version() + " " + answer.statusCode() + " " + answer.body()));
        }
        for (CompletableFuture<String> answer : answers) {
            System.out.println(answer.get());
        }
        var live = client.send(HttpRequest.newBuilder(URI.create(arguments[0] + "/livez")).build(), BodyHandlers.ofString());
        System.out.println(live.version() + " " + live.statusCode() + " " + live.body());
    }
}
